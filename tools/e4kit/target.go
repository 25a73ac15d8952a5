package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// target is an argument that names a file in an image: IMAGE:/path,
// IMAGE:<12>, IMAGE:<12>/path, or IMAGE alone for its root.
type target struct {
	image string
	path  string        // as given, with its globs; "/" when only the image was named
	inode disk.InodeNum // where the path starts; 0: at the root
	given bool          // a path or an inode was named
}

// parseTarget splits an argument at the first ":/" or ":<" that is not the
// colon of a drive name.
func parseTarget(s string) (target, error) {
	from := 0
	if len(s) >= 2 && s[1] == ':' && isLetter(s[0]) {
		from = 2
	}
	i := strings.Index(s[from:], ":/")
	j := strings.Index(s[from:], ":<")
	if i < 0 || j >= 0 && j < i {
		i = j
	}
	if s == "" || i == 0 && from == 0 {
		return target{}, fmt.Errorf("%q names no image", s)
	}
	if i < 0 {
		return target{image: s, path: "/"}, nil
	}
	i += from
	t := target{image: s[:i], path: s[i+1:], given: true}
	if t.path[0] == '/' {
		return t, nil
	}
	number, rest, ok := strings.Cut(t.path[1:], ">")
	if !ok || rest != "" && rest[0] != '/' {
		return target{}, fmt.Errorf("%q: an inode is named as <12>", s)
	}
	n, err := strconv.ParseUint(number, 0, 32)
	if err != nil || n == 0 {
		return target{}, fmt.Errorf("%q: %q is not an inode number", s, number)
	}
	t.inode, t.path = disk.InodeNum(n), rest
	return t, nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// String is the target as the user wrote it, but for a path that was left
// out.
func (t target) String() string {
	if t.inode != 0 {
		return fmt.Sprintf("%s:<%d>%s", t.image, t.inode, t.path)
	}
	return t.image + ":" + t.path
}

// imageHint helps those who forgot the slash: "disk.img:etc".
func imageHint(image string) string {
	i := strings.LastIndexByte(image, ':')
	if i <= 0 {
		return ""
	}
	if info, err := os.Stat(image[:i]); err != nil || info.IsDir() {
		return ""
	}
	return fmt.Sprintf(" (a path in an image starts with a slash: %s:/%s)", image[:i], image[i+1:])
}
