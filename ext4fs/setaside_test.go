package ext4fs

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// TestWrite_nothingStaysSetAside: what is kept for files to grow does not pile
// up where nobody holds them. One extent for each file, however many.
func TestWrite_nothingStaysSetAside(t *testing.T) {
	dev := formatRAM(t, 256<<20)
	f := openQuiet(t, dev)
	root := mustRoot(t, f)
	p := bytes.Repeat([]byte{1}, 200<<10)
	for n := range 120 {
		node := &NewNode{Mode: disk.ModeRegular | 0o600}
		if n%4 == 0 {
			node.Content = p
		}
		i, err := root.Create(fmt.Sprint(n), node)
		if err != nil {
			t.Fatal(err)
		}
		switch n % 4 {
		case 1:
			_, err = i.WriteAt(p, 0)
		case 2:
			_, _, err = i.Append(p)
		case 3:
			_, err = i.WriteFrom(context.Background(), bytes.NewReader(p), 0, -1)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := i.EndWrite(0, 1); err != nil {
			t.Fatal(err)
		}
	}
	i, err := root.Create("large", &NewNode{Mode: disk.ModeRegular | 0o600})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.MapForWrite(0, 60<<20); err != nil {
		t.Fatal(err)
	}
	for i, err := range f.Inodes() {
		if err != nil {
			t.Fatal(err)
		}
		if !i.IsRegular() || i.Number() < f.super.FirstInode {
			continue
		}
		extents := 0
		for _, err := range i.Extents() {
			if err != nil {
				t.Fatal(err)
			}
			extents++
		}
		if extents > 1 {
			t.Errorf("inode %d of %d bytes has %d extents", i.Number(), i.Size(), extents)
		}
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}
