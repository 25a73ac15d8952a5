package tree_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"log"

	"github.com/e4kit/e4kit/ext4fs/tree"
)

func ExampleTarReader() {
	var stream bytes.Buffer
	w := tar.NewWriter(&stream)
	for _, h := range []*tar.Header{
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "etc/hostname", Mode: 0o644},
		{Name: "etc/mtab", Typeflag: tar.TypeSymlink, Linkname: "/proc/mounts"},
	} {
		if err := w.WriteHeader(h); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	t, err := tree.Load(context.Background(), tree.Options{}, tree.TarReader(&stream))
	if err != nil {
		log.Fatal(err)
	}
	defer t.Close()
	etc, _ := t.LookupPath("/etc")
	for _, e := range t.Entries(etc) {
		fmt.Printf("%s %q\n", t.Path(e.ID), t.Target(e.ID))
	}
	// Output:
	// /etc/hostname ""
	// /etc/mtab "/proc/mounts"
}
