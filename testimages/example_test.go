package testimages_test

import (
	"context"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// A store keeps two copies of a byte, and writes the second one when the first
// one is safe: whenever the power goes, one of them is right.
func ExampleCrashStates() {
	rec, err := testimages.NewRecorder(device.NewRAM(8192))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, off := range []int64{0, 4096} {
		if _, err := rec.WriteAt([]byte("new"), off); err != nil {
			fmt.Println(err)
			return
		}
		if err := rec.Sync(); err != nil {
			fmt.Println(err)
			return
		}
		rec.Mark("a copy is safe")
	}
	o := testimages.CrashOptions{Subsets: 10, Seed: 1, Workers: 1}
	_, err = testimages.CrashStates(context.Background(), rec.Log(), o, func(s *testimages.CrashState) error {
		b := make([]byte, 8192)
		if _, err := s.Dev.ReadAt(b, 0); err != nil {
			return err
		}
		safe := 0
		for _, off := range []int{0, 4096} {
			if string(b[off:off+3]) == "new" {
				safe++
			}
		}
		if safe < len(s.Marks) {
			return fmt.Errorf("%d copies after %d were said to be safe", safe, len(s.Marks))
		}
		return nil
	})
	fmt.Println(err)
	// Output: <nil>
}
