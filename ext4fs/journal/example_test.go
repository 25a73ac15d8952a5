package journal_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// The log of a file system that lost power is read, to see what recovery would
// do. Here the log is a file of its own; that of an image comes from
// ext4fs.FS.Journal.
func ExampleLoad() {
	f, err := os.Open("testdata/v3.log.gz")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 1024*1024) // the end of the log is zeros
	if _, err := io.ReadFull(z, b); err != io.ErrUnexpectedEOF {
		log.Fatal(err)
	}
	l, err := journal.NewInternal(device.NewMemory(b), 1024, []journal.Run{{Logical: 0, Physical: 0, Len: 1024}})
	if err != nil {
		log.Fatal(err)
	}
	rec, err := journal.Load(context.Background(), l, journal.Options{BlockSize: 1024, NeedsRecovery: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rec)
	for r, err := range journal.Walk(l, 1024) {
		if err == nil && r.State == journal.StateLive && r.Commit != nil {
			fmt.Printf("transaction %d ends at log block %d\n", r.Sequence, r.Block)
		}
	}
	// Output:
	// 4 transactions before 6: 19 blocks, 0 revoked, 0 fast commits
	// transaction 2 ends at log block 15
	// transaction 3 ends at log block 31
	// transaction 4 ends at log block 49
	// transaction 5 ends at log block 59
}
