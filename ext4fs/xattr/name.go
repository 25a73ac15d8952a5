package xattr

import (
	"fmt"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

const (
	// MaxName is the longest full name of an attribute, in bytes.
	MaxName = 255
	// MaxValue is the largest value that may be set, in bytes.
	MaxValue = 65536
)

// settable are the prefixes under which attributes may be set by name. What is
// not here the file system keeps for itself, or nothing reads it.
var settable = [...]disk.XattrIndex{
	disk.XattrUser, disk.XattrTrusted, disk.XattrSecurity, disk.XattrGNU,
	disk.XattrACLAccess, disk.XattrACLDefault,
}

// SplitName takes the full name of an attribute to be set or removed apart
// into index and stored name. Errors are those of the system call: ErrNameRange
// for a length of 0 or above 255, ErrName for a bare prefix, ErrNamespace for
// what has no handler in Linux, such as other names below "system.".
func SplitName(full string) (disk.XattrIndex, []byte, error) {
	switch {
	case full == "" || len(full) > MaxName:
		return 0, nil, fmt.Errorf("name of %d bytes: %w", len(full), ErrNameRange)
	case strings.IndexByte(full, 0) >= 0:
		return 0, nil, fmt.Errorf("%q: %w", full, ErrName)
	}
	for _, i := range settable {
		rest, ok := strings.CutPrefix(full, i.Prefix())
		whole := !strings.HasSuffix(i.Prefix(), ".")
		switch {
		case !ok || whole && rest != "":
			continue
		case !whole && rest == "":
			return 0, nil, fmt.Errorf("%q: %w", full, ErrName)
		}
		return i, []byte(rest), nil
	}
	return 0, nil, fmt.Errorf("%q: %w", full, ErrNamespace)
}

// CheckUser gives ErrNotUser where Linux lets nobody set the attribute on an
// inode with this i_mode: "user." is for files and directories.
func CheckUser(index disk.XattrIndex, mode uint16) error {
	if t := mode & disk.ModeType; index == disk.XattrUser && t != disk.ModeRegular && t != disk.ModeDir {
		return ErrNotUser
	}
	return nil
}
