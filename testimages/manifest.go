package testimages

import (
	"fmt"
	"slices"
	"strings"
)

// Manifest describes a tree, one line per path, sorted by the bytes of the
// escaped path. Fields are separated by one space:
//
//	PATH TYPE MODE UID GID NLINK SIZE MTIME DATA XATTRS
//
//	PATH    absolute, "/" for the root; bytes outside 0x22..0x7e and '\' are
//	        written \xNN (lower case)
//	TYPE    f regular file, d directory, l symlink, c and b device, p fifo,
//	        s socket
//	MODE    four octal digits: permissions, setuid, setgid, sticky
//	UID,GID decimal
//	NLINK   link count; '-' for directories
//	SIZE    bytes; '-' for directories, whose size is a matter of layout; 0 for
//	        devices, fifos and sockets
//	MTIME   SECONDS.NNNNNNNNN: whole seconds since 1970, negative before (the
//	        fraction always counts upwards), and nine digits of nanoseconds
//	DATA    f: sha256:HEX of the content, or, for files above 64 MiB,
//	           sparse256:HEX = SHA-256 over (offset as 8 bytes little endian,
//	           then the chunk) of every aligned 1024-byte chunk that is not
//	           all zero, the last one padded with zeros
//	        l: the target, escaped as PATH, or, when that is longer than 512
//	           characters, LENGTH:sha256:HEX of the target; a target "-" is
//	           written \x2d
//	        c,b: MAJOR:MINOR
//	        others: '-'
//	        !nokey where the content is encrypted and the key is absent;
//	        ! and the error's text, escaped, for any other failure to read
//	XATTRS  comma-separated NAME=VALUE sorted by the bytes of the item; in the
//	        name, bytes are escaped as in PATH, ',' and '=' as well. VALUE is
//	        0xHEX up to 32 bytes, else LENGTH:sha256:HEX. '-' for none. POSIX
//	        ACLs stand in the form of the xattr system calls (version 2). What
//	        the kernel does not list (system.data, encryption context, verity)
//	        is absent. A list that cannot be read is '!'.
//
// Inode numbers, block addresses, inode flags, access and change times are
// left out: they may differ between a tree and a true copy of it. [StatDir]
// takes those.
type Manifest []string

// ParseManifest reads the text form: one line per path, empty lines ignored.
func ParseManifest(text string) Manifest {
	var m Manifest
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" {
			m = append(m, line)
		}
	}
	m.sort()
	return m
}

// String returns the text form, each line ended by a newline.
func (m Manifest) String() string {
	if len(m) == 0 {
		return ""
	}
	return strings.Join(m, "\n") + "\n"
}

// sort orders m by path: a space sorts before every byte of an escaped path.
func (m Manifest) sort() { slices.Sort(m) }

// Without returns m less the lines of the given paths, which are written as in
// the manifest.
func (m Manifest) Without(paths ...string) Manifest {
	return slices.DeleteFunc(slices.Clone(m), func(line string) bool {
		return slices.Contains(paths, pathOf(line))
	})
}

// Under returns the lines at and below the folder dir, which becomes the root.
func (m Manifest) Under(dir string) Manifest {
	var sub Manifest
	for _, line := range m {
		p := pathOf(line)
		switch {
		case p == dir:
			sub = append(sub, "/"+line[len(p):])
		case strings.HasPrefix(p, dir+"/"):
			sub = append(sub, line[len(dir):])
		}
	}
	sub.sort()
	return sub
}

// Drop returns m with the named columns (by the names in the format, such as
// "MTIME") replaced by '-', to compare trees that cannot agree in them.
func (m Manifest) Drop(columns ...string) Manifest {
	out := make(Manifest, len(m))
	for i, line := range m {
		f := strings.Split(line, " ")
		for k, name := range manifestColumns {
			if k < len(f) && slices.Contains(columns, name) {
				f[k] = "-"
			}
		}
		out[i] = strings.Join(f, " ")
	}
	return out
}

var manifestColumns = []string{"PATH", "TYPE", "MODE", "UID", "GID", "NLINK", "SIZE", "MTIME", "DATA", "XATTRS"}

func pathOf(line string) string {
	p, _, _ := strings.Cut(line, " ")
	return p
}

// maxDiffs bounds how many differences [Diff] spells out.
const maxDiffs = 20

// Diff compares two manifests, or two lists of [StatDir], and describes the
// first differences: paths on one side only (- in a, + in b), and for paths on
// both sides the fields that differ. The empty string means that a equals b.
func Diff(a, b Manifest) string {
	var out strings.Builder
	count := 0
	say := func(format string, args ...any) {
		if count++; count <= maxDiffs {
			fmt.Fprintf(&out, format, args...)
		}
	}
	for len(a) > 0 || len(b) > 0 {
		switch c := comparePaths(a, b); {
		case c < 0:
			say("- %s\n", a[0])
			a = a[1:]
		case c > 0:
			say("+ %s\n", b[0])
			b = b[1:]
		default:
			if a[0] != b[0] {
				say("! %s\n", fieldDiff(a[0], b[0]))
			}
			a, b = a[1:], b[1:]
		}
	}
	if count > maxDiffs {
		fmt.Fprintf(&out, "... %d differences in all\n", count)
	}
	return out.String()
}

// comparePaths orders the first lines of a and b; an empty list comes last.
func comparePaths(a, b Manifest) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return strings.Compare(pathOf(a[0]), pathOf(b[0]))
}

// fieldDiff names the fields in which two lines of one path differ.
func fieldDiff(a, b string) string {
	fa, fb := strings.Split(a, " "), strings.Split(b, " ")
	names := manifestColumns
	if len(fa) == len(statColumns) {
		names = statColumns
	}
	if len(fa) != len(fb) || len(fa) != len(names) {
		return a + "\n     " + b
	}
	out := fa[0]
	for i := 1; i < len(fa); i++ {
		if fa[i] != fb[i] {
			out += fmt.Sprintf(" %s %s -> %s", names[i], fa[i], fb[i])
		}
	}
	return out
}

// escape writes the bytes of a path or link target as the format wants them.
func escape(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] >= 0x22 && s[i] <= 0x7e && s[i] != '\\'
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 0x22 && c <= 0x7e && c != '\\' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// statColumns are the fields of a line of [StatDir].
var statColumns = []string{"PATH", "INO", "NLINK", "SIZE", "BLOCKS", "ATIME", "MTIME", "CTIME", "BTIME", "FLAGS", "PROJECT"}
