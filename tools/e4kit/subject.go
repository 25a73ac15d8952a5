package main

import (
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// subject is a file that find judges and formats describe.
type subject struct {
	img   *image
	path  string
	start string // the argument under which it was found
	name  string
	depth int
	num   disk.InodeNum
	kind  uint8

	inode *ext4fs.Inode // nil where it is not needed or could not be read
	st    *ext4fs.Stat
}

// stat returns what the inode says, nil where it could not be read.
func (s *subject) stat() *ext4fs.Stat {
	if s.st == nil && s.inode != nil {
		s.st = s.inode.Stat()
	}
	return s.st
}

// mode is i_mode as far as it is known: the type alone where only the
// directory entry was read.
func (s *subject) mode() uint16 {
	if s.inode != nil {
		return s.inode.Raw().Mode()
	}
	return entryMode[s.kind&0xf]
}

// entryMode has the type bits for the types in directory entries.
var entryMode = [16]uint16{
	disk.FileTypeRegular: disk.ModeRegular, disk.FileTypeDir: disk.ModeDir, disk.FileTypeChar: disk.ModeChar,
	disk.FileTypeBlock: disk.ModeBlock, disk.FileTypeFIFO: disk.ModeFIFO, disk.FileTypeSocket: disk.ModeSocket,
	disk.FileTypeSymlink: disk.ModeSymlink,
}

// time returns one of the four times by its letter in formats.
func (s *subject) time(letter byte) time.Time {
	st := s.stat()
	if st == nil {
		return time.Time{}
	}
	switch letter {
	case 'A', 'a':
		return st.Atime
	case 'C', 'c':
		return st.Ctime
	case 'B':
		return st.Crtime
	}
	return st.Mtime
}

func (s *subject) target() string {
	if s.inode == nil || !s.inode.IsSymlink() {
		return ""
	}
	target, _ := s.inode.Readlink()
	return target
}
