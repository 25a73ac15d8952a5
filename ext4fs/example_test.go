package ext4fs_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"

	"github.com/e4kit/e4kit/ext4fs"
)

// An image, compressed or not, is an fs.FS.
func ExampleOpenFile() {
	fsys, err := ext4fs.OpenFile("testdata/seeds/ext4.img.gz", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer fsys.Close()

	text, err := fs.ReadFile(fsys, "inline")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", text)

	target, err := fsys.ReadLink("fast")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("fast ->", target)
	// Output:
	// a few bytes
	// fast -> data
}

// The node view works by inode number and shows what the path view hides.
func ExampleInode_Extents() {
	fsys, err := ext4fs.OpenFile("testdata/seeds/ext4.img.gz", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer fsys.Close()

	inode, err := fsys.Lookup("/data")
	if err != nil {
		log.Fatal(err)
	}
	var blocks uint32
	for e, err := range inode.Extents() {
		if err != nil {
			log.Fatal(err)
		}
		blocks += e.Len
	}
	fmt.Println(inode.Size(), "bytes in", blocks, "blocks of", fsys.BlockSize())
	// Output: 20000 bytes in 20 blocks of 1024
}

// Walk is the fast way through a whole tree.
func ExampleFS_Walk() {
	fsys, err := ext4fs.OpenFile("testdata/seeds/casefold.img.gz", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer fsys.Close()

	root, err := fsys.Root()
	if err != nil {
		log.Fatal(err)
	}
	err = fsys.Walk(context.Background(), root, "/", func(e *ext4fs.WalkEntry) error {
		if e.Err != nil {
			return e.Err
		}
		if e.Name == "lost+found" {
			return fs.SkipDir
		}
		fmt.Println(e.Inode.Mode(), e.Path())
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	// The folder ignores case.
	i, err := fsys.Lookup("/folded/hello")
	fmt.Println(i.IsDir(), err)
	// Output:
	// drwxr-xr-x /
	// drwxr-xr-x /folded
	// drwxr-xr-x /folded/HELLO
	// drwxr-xr-x /folded/Strasse
	// true <nil>
}

// A file system that was not unmounted is shown as recovery would leave it;
// the image is not touched.
func ExampleFS_Recovery() {
	fsys, err := ext4fs.OpenFile("testdata/seeds/dirty.img.gz", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer fsys.Close()
	fmt.Println("replayed:", fsys.Recovery().Needed)
	list, err := fs.ReadDir(fsys, ".")
	fmt.Println(len(list), "names", err)
	// Output:
	// replayed: true
	// 65 names <nil>
}
