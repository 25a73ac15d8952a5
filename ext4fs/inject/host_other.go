//go:build !linux

package inject

import (
	"io/fs"
	"os"

	"github.com/e4kit/e4kit/ext4fs"
)

func (v *hostWalk) system(*item, fs.FileInfo) {}

func openHost(path string) (*os.File, error) { return os.Open(path) }

func mayHaveHoles(fs.FileInfo) bool { return false }

func nextData(_ *os.File, off, size int64) (ext4fs.Span, bool, error) {
	return ext4fs.Span{Off: off, Len: size - off}, true, nil
}

func hostXattrs(string, *Options) ([]ext4fs.Xattr, error) { return nil, nil }
