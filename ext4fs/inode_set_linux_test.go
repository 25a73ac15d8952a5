package ext4fs_test

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// Every inode that the kernel wrote, built anew with the setters, has the same
// bytes, checksum included.
func TestInode_settersKernel(t *testing.T) {
	for _, name := range []string{"ext4-1k", "ext3-4k", "inode-128", "inode-1024-1k", "no-csum", "ea-inode", "quota-project"} {
		t.Run(name, func(t *testing.T) {
			f, err := ext4fs.OpenFile(testimages.Build(t, testimages.Find(t, name)), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			s, checked := f.Super(), 0
			for n := disk.RootInode; n <= disk.InodeNum(s.InodesCount); n++ {
				i, err := f.Inode(n)
				if err != nil {
					t.Fatal(err)
				}
				if raw := i.Raw(); raw.Links() > 0 {
					checked++
					if got := rebuildInode(raw, s, n); !bytes.Equal(got, raw) {
						t.Errorf("inode %d:\n%s, want\n%s", n, hex.Dump(got), hex.Dump(raw))
					}
				}
			}
			if checked < 20 {
				t.Errorf("%d inodes", checked)
			}
		})
	}
}

func rebuildInode(raw disk.Inode, s *disk.Superblock, n disk.InodeNum) disk.Inode {
	wide := s.Features.Incompat.Has(disk.Incompat64bit)
	i := disk.NewInode(len(raw), raw.ExtraSize())
	i.SetMode(disk.ModeFromFileMode(disk.FileMode(raw.Mode())))
	i.SetUID(raw.UID())
	i.SetGID(raw.GID())
	i.SetSize(int64(uint64(raw.SizeHi())<<32 | uint64(raw.SizeLo())))
	i.SetAtime(raw.Atime())
	i.SetCtime(raw.Ctime())
	i.SetMtime(raw.Mtime())
	if at, ok := raw.Crtime(); ok {
		i.SetCrtime(at)
	}
	i.SetDeletionTime(raw.DeletionTime())
	i.SetLinks(raw.Links())
	i.SetFlags(raw.Flags())
	i.SetSectors(uint64(raw.BlocksLo())|uint64(raw.BlocksHi())<<32, true, s.BlockSize())
	i.SetVersion(raw.Version())
	copy(i.Block(), raw.Block())
	if major, minor := raw.Device(); disk.FileMode(raw.Mode())&fs.ModeDevice != 0 {
		copy(i.Block(), make([]byte, disk.InodeBlockSize))
		i.SetDevice(major, minor)
	}
	i.SetGeneration(raw.Generation())
	i.SetFileACL(raw.FileACL(wide), wide)
	if id, ok := raw.Project(); ok {
		i.SetProject(id)
	}
	if raw.Flags().Has(disk.FlagEAInode) {
		i.SetEARefs(raw.EARefs())
		i.SetEAHash(raw.EAHash())
	}
	if end := disk.InodeBaseSize + raw.ExtraSize(); end < len(raw) {
		copy(i[end:], raw[end:])
	}
	if s.HasMetadataCsum() {
		i.Seal(s.Seed(), n)
	}
	return i
}
