package device_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
)

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unwrap takes off the outer path error, under which the cause may have one.
func unwrap(err error) error {
	var pe *fs.PathError
	for errors.As(err, &pe) {
		err = pe.Err
	}
	return err
}

func ExampleNewWindow() {
	whole := device.NewMemory([]byte("boot root data"))
	root, err := device.NewWindow(whole, 5, 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	p := make([]byte, root.Size())
	root.ReadAt(p, 0)
	fmt.Printf("%s\n", p)
	// Output: root
}

func ExampleOpen() {
	m, err := device.Open("no-such.img", device.Options{Partition: "1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	for _, use := range m.InUse() {
		fmt.Println("careful:", use)
	}
	// Output: open no-such.img: no such file or directory
}

// Changes to an overlay stay in memory: a trial run of whatever writes.
func ExampleNewOverlay() {
	base := device.NewMemory([]byte("boot root data"))
	o := device.NewOverlay(base)
	if err := device.WriteV(o, [][]byte{[]byte("R"), []byte("OOT")}, 5); err != nil {
		fmt.Println(err)
		return
	}
	b := make([]byte, 14)
	for _, d := range []device.Device{o, base} {
		if _, err := d.ReadAt(b, 0); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", b)
	}
	// Output:
	// boot ROOT data
	// boot root data
}
