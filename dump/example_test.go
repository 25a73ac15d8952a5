package dump_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/e4kit/e4kit/dump"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// The same value gives text and JSON.
func ExampleOpen() {
	dev, err := device.Open("../testimages/demo/demo.img.gz", device.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	im, err := dump.Open(dev, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, note := range im.Notes() {
		fmt.Println(note)
	}
	orphans, err := im.Orphans()
	if err != nil {
		log.Fatal(err)
	}
	if err := orphans.WriteText(os.Stdout); err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(orphans); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Orphan list: 0 inodes
	// Orphan file in use:         no
	// {"type":"orphans","list":[],"orphan_present":false}
}

// Scan goes over all files without reading a directory.
func ExampleScan() {
	dev, err := device.Open("../testimages/demo/demo.img.gz", device.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	im, err := dump.Open(dev, nil)
	if err != nil {
		log.Fatal(err)
	}
	type group struct{ directories int }
	visit := func(g *group, f *dump.File) {
		if f.Err == nil && f.Raw.Mode()&disk.ModeType == disk.ModeDir {
			g.directories++
		}
	}
	for g, err := range dump.Scan(context.Background(), im, dump.ScanOptions{Verify: true}, visit) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(g.directories, "directories")
	}
	// Output: 23 directories
}
