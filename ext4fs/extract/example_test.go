package extract_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/extract"
	"github.com/e4kit/e4kit/testimages"
)

func ExampleJob() {
	demo, err := testimages.DemoPath()
	if err != nil {
		log.Fatal(err)
	}
	img, err := ext4fs.OpenFile(filepath.Join(demo, testimages.DemoImage), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	dest, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dest)

	inode, err := img.Lookup("/etc")
	if err != nil {
		log.Fatal(err)
	}
	job := extract.New(img, extract.Options{
		Mode: true, Times: true, Links: true,
		Error: func(path string, err error) { log.Printf("%s: %v", path, err) },
	})
	job.Add(extract.Item{Inode: inode, Path: "/etc", Dir: dest, Name: "etc"})
	result, err := job.Run(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d files, %d bytes\n", result.Files, result.Bytes)
	// Output: 4 files, 620 bytes
}
