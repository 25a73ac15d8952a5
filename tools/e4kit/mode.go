package main

import (
	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// modeString is what ls -l shows for an i_mode: "drwxr-sr-x".
func modeString(mode uint16) string {
	b := []byte("?rwxrwxrwx")
	b[0] = typeLetter(mode)
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			b[1+i] = '-'
		}
	}
	special := func(at int, bit uint16, with, without byte) {
		if mode&bit == 0 {
			return
		}
		if b[at] == 'x' {
			b[at] = with
		} else {
			b[at] = without
		}
	}
	special(3, 0o4000, 's', 'S')
	special(6, 0o2000, 's', 'S')
	special(9, 0o1000, 't', 'T')
	return string(b)
}

func typeLetter(mode uint16) byte {
	switch mode & disk.ModeType {
	case disk.ModeRegular:
		return '-'
	case disk.ModeDir:
		return 'd'
	case disk.ModeSymlink:
		return 'l'
	case disk.ModeChar:
		return 'c'
	case disk.ModeBlock:
		return 'b'
	case disk.ModeFIFO:
		return 'p'
	case disk.ModeSocket:
		return 's'
	}
	return '?'
}

// typeWord is the type as prose and JSON have it.
func typeWord(mode uint16) string {
	switch mode & disk.ModeType {
	case disk.ModeRegular:
		return "file"
	case disk.ModeDir:
		return "directory"
	case disk.ModeSymlink:
		return "symlink"
	case disk.ModeChar:
		return "char device"
	case disk.ModeBlock:
		return "block device"
	case disk.ModeFIFO:
		return "fifo"
	case disk.ModeSocket:
		return "socket"
	}
	return "unknown"
}

// paintFor is the colour of a name in a listing.
func (s *styles) paintFor(mode uint16) paint {
	switch mode & disk.ModeType {
	case disk.ModeDir:
		return s.dir
	case disk.ModeSymlink:
		return s.link
	case disk.ModeChar, disk.ModeBlock:
		return s.device
	case disk.ModeFIFO:
		return s.fifo
	case disk.ModeSocket:
		return s.sock
	}
	switch {
	case mode&0o6000 != 0:
		return s.setid
	case mode&0o111 != 0:
		return s.exec
	}
	return paint{}
}

// isDevice reports whether the inode is a device node.
func isDevice(st *ext4fs.Stat) bool {
	t := st.RawMode & disk.ModeType
	return t == disk.ModeChar || t == disk.ModeBlock
}
