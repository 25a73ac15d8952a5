package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// TestMkfs_forms: whatever form an image is written in, it is the same image.
func TestMkfs_forms(t *testing.T) {
	t.Chdir(t.TempDir())
	makeSources(t)
	args := append([]string{"mkfs", "-q", "--reproducible", "--from", "dir"}, strings.Fields(fixedIDs)...)
	for _, disk := range [][]string{nil, {"--partition", "gpt"}, {"--partition", "mbr"}} {
		var want []byte
		for _, name := range []string{"a.img", "a.simg", "a.img.gz", "a.img.zst"} {
			r := e4kit(append(append(append([]string{}, args...), disk...), name, "8M")...)
			if r.code != 0 {
				t.Fatal(r)
			}
			img, err := device.Open(name, device.Options{Partition: "@0"})
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, img.Size())
			if _, err := img.ReadAt(got, 0); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			img.Close()
			if want == nil {
				want = got
			} else if !bytes.Equal(got, want) {
				t.Errorf("%v: %s holds something else than a.img", disk, name)
			}
			os.Remove(name)
		}
	}
}

// TestMkfs_partitions asks sfdisk about the tables, on files and on devices.
func TestMkfs_partitions(t *testing.T) {
	testimages.RequireTool(t, "sfdisk")
	t.Chdir(testimages.Scratch(t))
	for _, scheme := range []string{"gpt", "mbr"} {
		name := scheme + ".img"
		if r := e4kit("mkfs", "-q", "--partition", scheme, name, "16M"); r.code != 0 {
			t.Fatal(r)
		}
		if out, err := exec.Command("sfdisk", "-V", name).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("No errors")) {
			t.Errorf("%s: %v: %s", scheme, err, out)
		}
		// Written over as a whole, it is filled as far as that goes.
		if r := e4kit("mkfs", "-q", "-F", "--partition", scheme, name); r.code != 0 {
			t.Error(r)
		}
		if info, err := os.Stat(name); err != nil || info.Size() != map[string]int64{"gpt": 18 << 20, "mbr": 17 << 20}[scheme] {
			t.Errorf("%s: %v %v", scheme, info, err)
		}
	}
}

// TestMkfs_partitionType asks sfdisk what the partition says that it holds.
func TestMkfs_partitionType(t *testing.T) {
	testimages.RequireTool(t, "sfdisk")
	t.Chdir(testimages.Scratch(t))
	for kind, want := range map[string]string{
		"linux": "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "root-x86_64": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
		"0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
	} {
		if r := e4kit("mkfs", "-q", "-F", "--partition", "gpt", "--partition-type", kind, "disk.img", "4M"); r.code != 0 {
			t.Fatal(r)
		}
		if out, err := exec.Command("sfdisk", "--part-type", "disk.img", "1").CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %v: %s", kind, err, out)
		}
	}
	for _, args := range []string{
		"--partition mbr --partition-type linux", "--partition-type linux", "--partition gpt --partition-type root-z80",
		"--partition gpt --partition-type swap", "--partition gpt --partition-type 00000000-0000-0000-0000-000000000000",
	} {
		words := append([]string{"mkfs", "-q", "new.img", "4M"}, strings.Fields(args)...)
		if r := e4kit(words...); r.code != exitUsage || !strings.Contains(r.stderr, "--partition-type") {
			t.Errorf("%s: %v", args, r)
		}
	}
}

// TestMkfs_deviceTable makes a disk of a device that held another.
func TestMkfs_deviceTable(t *testing.T) {
	testimages.RequireLoop(t)
	testimages.RequireTool(t, "sfdisk")
	t.Chdir(testimages.Scratch(t))
	if err := os.WriteFile("disk", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate("disk", 33<<20+4096); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "-f", "--show", "disk").Output()
	if err != nil {
		t.Fatal(err)
	}
	loop := strings.TrimSpace(string(out))
	defer func() { exec.Command("losetup", "-d", loop).Run() }()
	for _, scheme := range []string{"gpt", "mbr", "gpt"} {
		if r := e4kit("mkfs", "-q", "-F", "--partition", scheme, loop); r.code != 0 {
			t.Fatal(r)
		}
		out, err := exec.Command("sfdisk", "-V", loop).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("No errors")) {
			t.Errorf("%s: %v: %s", scheme, err, out)
		}
		if r := e4kit("ls", loop); r.code != 0 || r.stdout != "lost+found\n" {
			t.Errorf("%s: %v", scheme, r)
		}
		if r := e4kit("mkfs", "--partition", scheme, loop); r.code != exitFailed || !strings.Contains(r.stderr, "partition table") {
			t.Errorf("%s: %v", scheme, r)
		}
	}
}
