package inject_test

import (
	"context"
	"fmt"
	"os"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/inject"
)

// A folder of the host goes into an image, as "cp -a rootfs/. IMAGE:/" has it.
func ExampleJob() {
	fsys, err := ext4fs.OpenFile("disk.img", &ext4fs.Options{Write: true})
	if err != nil {
		return
	}
	root, err := fsys.Root()
	if err == nil {
		job := inject.New(fsys, inject.Options{
			Mode: true, Owner: true, Times: true, Links: true, Xattrs: true, ACLs: true, Devices: true,
			Error: func(path string, err error) { fmt.Fprintf(os.Stderr, "%s: %v\n", path, err) },
		})
		job.AddHost("rootfs", false, inject.Place{Dir: root, Path: "/"})
		_, err = job.Run(context.Background())
	}
	if cerr := fsys.Close(); err == nil {
		err = cerr // only now all of it is durable
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// An archive is unpacked below /opt.
func ExampleUntar() {
	fsys, err := ext4fs.OpenFile("disk.img", &ext4fs.Options{Write: true})
	if err != nil {
		return
	}
	defer fsys.Close()
	in, err := os.Open("app.tar.zst")
	if err != nil {
		return
	}
	defer in.Close()
	opt, err := fsys.Lookup("/opt")
	if err != nil {
		return
	}
	o := inject.TarOptions{Options: inject.Options{Mode: true, Owner: true, Times: true}, Strip: 1}
	r, err := inject.Untar(context.Background(), in, inject.Place{Dir: opt, Path: "/opt"}, o)
	fmt.Fprintln(os.Stderr, r.Files, err)
}
