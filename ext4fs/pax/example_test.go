package pax_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"path/filepath"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/pax"
	"github.com/e4kit/e4kit/testimages"
)

func ExampleWriter() {
	demo, err := testimages.DemoPath()
	if err != nil {
		log.Fatal(err)
	}
	img, err := ext4fs.OpenFile(filepath.Join(demo, testimages.DemoImage), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	inode, err := img.Lookup("/etc")
	if err != nil {
		log.Fatal(err)
	}

	var stream bytes.Buffer
	w := pax.NewWriter(img, &stream, pax.Options{})
	if err := w.Add(context.Background(), inode, "etc", "/etc"); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	r := tar.NewReader(&stream)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(h.Name, h.Size)
	}
	// Output:
	// etc/ 0
	// etc/fstab 120
	// etc/passwd 300
	// etc/shadow 200
}

func ExampleReader() {
	var stream bytes.Buffer
	w := tar.NewWriter(&stream)
	if err := w.WriteHeader(&tar.Header{Name: "etc/hostname", Size: 5, Mode: 0o644}); err != nil {
		log.Fatal(err)
	}
	if _, err := w.Write([]byte("ext4\n")); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	// Data that is not asked for is not read.
	data := bytes.NewReader(stream.Bytes())
	r := pax.NewReaderAt(data, data.Size())
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %d bytes at %d\n", h.Name, h.Stored, h.Offset)
	}
	// Output:
	// etc/hostname: 5 bytes at 512
}
