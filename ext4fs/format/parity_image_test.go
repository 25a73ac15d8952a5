package format

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// make formats a new sparse file with this package.
func (c mkfsCase) make(t testing.TB, dir string) (string, error) {
	t.Helper()
	img := filepath.Join(dir, "ours.img")
	os.Remove(img)
	f, err := os.Create(img)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(c.size(t)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	d, err := device.Open(img, device.Options{Write: true, Partition: "@0"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w, ok := device.AsWriter(d)
	if !ok {
		t.Fatal("not a writer")
	}
	return img, Format(context.Background(), w, *c.options(t))
}

// readGroups reads all descriptors, from a copy if g is not 0.
func readGroups(t testing.TB, img string) []disk.GroupDesc {
	t.Helper()
	f, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sb := readSuper(t, f)
	size := int64(sb.BlockSize())
	per := disk.GroupNum(sb.DescsPerBlock())
	var b []byte
	var out []disk.GroupDesc
	for g := range sb.Groups() {
		if g%per == 0 {
			b = make([]byte, size)
			if _, err := f.ReadAt(b, int64(sb.DescBlock(uint32(g/per)))*size); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, disk.GroupDesc(b[int(g%per)*sb.DescSize():][:sb.DescSize()]))
	}
	return out
}

// groupLine is what dumpe2fs tells of a group.
func groupLine(sb *disk.Superblock, d disk.GroupDesc) string {
	flags := d.Flags()
	if !sb.HasGroupCsum() {
		flags = 0
	}
	return fmt.Sprintf("bitmaps %d %d table %d free %d inodes %d dirs %d unused %d flags %d",
		d.BlockBitmap(), d.InodeBitmap(), d.InodeTable(), d.FreeClusters(), d.FreeInodes(), d.UsedDirs(), d.ItableUnused(), flags)
}

// compareImages holds two images against each other.
func compareImages(t *testing.T, theirs, ours string) {
	t.Helper()
	var sb [2]disk.Superblock
	for i, img := range []string{theirs, ours} {
		f, err := os.Open(img)
		if err != nil {
			t.Fatal(err)
		}
		sb[i] = readSuper(t, f)
		f.Close()
		sb[i].KBytesWritten, sb[i].Checksum = 0, 0
		if j := &sb[i].JournalBlocks; j[0] == 1<<16|uint32(disk.ExtentMagic) && j[1]>>16 > 0 {
			// mke2fs leaves what the root had before it had nodes.
			clear(j[6:15])
		}
	}
	for _, d := range superDiff(&sb[0], &sb[1]) {
		t.Error(d)
	}
	want, got := readGroups(t, theirs), readGroups(t, ours)
	if len(want) != len(got) {
		t.Fatalf("%d groups, mke2fs has %d", len(got), len(want))
	}
	if moved := movedBlocks(want, got); moved > 0 && moved <= lostFoundDirect && sb[0].FreeBlocks == sb[1].FreeBlocks {
		// mke2fs takes what is free block by block for lost+found, and has it
		// in the group of its inode; ours is in one piece.
		t.Logf("%d blocks lie in other groups", moved)
		return
	}
	bad := 0
	for g := range want {
		w, o := groupLine(&sb[0], want[g]), groupLine(&sb[1], got[g])
		if w != o {
			t.Errorf("group %d:\n  %s, mke2fs has\n  %s", g, o, w)
			if bad++; bad > 4 {
				return
			}
		}
	}
}

// movedBlocks is how many free clusters of groups of one image are in other
// groups of the other, if that is all that differs.
func movedBlocks(want, got []disk.GroupDesc) int {
	n := 0
	for g := range want {
		d := int(want[g].FreeClusters()) - int(got[g].FreeClusters())
		n += max(d, 0)
		if want[g].BlockBitmap() != got[g].BlockBitmap() || want[g].InodeTable() != got[g].InodeTable() || want[g].FreeInodes() != got[g].FreeInodes() {
			return -1
		}
	}
	return n
}

func fsck(t testing.TB, img string) {
	t.Helper()
	out, err := exec.Command("e2fsck", "-fn", img).CombinedOutput()
	if err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

func TestFormat_isAsMke2fs(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	dir := testimages.Scratch(t)
	for _, c := range placeCases {
		if n := c.size(t); n > 4<<40 || n > 200<<30 && (testing.Short() || strings.Contains(string(c), "-b 1024")) {
			continue // the places alone are compared elsewhere
		}
		t.Run(strings.ReplaceAll(string(c), " ", "_"), func(t *testing.T) {
			theirs, mkErr := c.mke2fs(t, dir)
			ours, err := c.make(t, dir)
			defer os.Remove(theirs)
			defer os.Remove(ours)
			if mkErr != nil || err != nil {
				if (mkErr == nil) != (err == nil) {
					t.Fatalf("mke2fs: %v; ours: %v", mkErr, err)
				}
				return
			}
			compareImages(t, theirs, ours)
			if c.size(t) <= 20<<30 {
				fsck(t, ours)
			}
		})
	}
}
