package main

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// primaries is every word of an expression but the operators.
var primaries = []primary{
	{name: "-name", arg: "PATTERN", usage: "the last element matches the glob", build: nameTest(false)},
	{name: "-iname", arg: "PATTERN", usage: "the same, whatever the case", build: nameTest(true)},
	{name: "-path, -wholename", arg: "PATTERN", usage: "the whole path matches; * and ? match / as well", build: pathTest(false)},
	{name: "-ipath", arg: "PATTERN", usage: "the same, whatever the case", build: pathTest(true)},
	{name: "-regex", arg: "RE", usage: "the whole path matches the Go regular expression", build: regexTest},
	{name: "-lname", arg: "PATTERN", usage: "a symbolic link whose target matches", build: linkNameTest, inode: true},
	{name: "-type", arg: "LETTERS", usage: "one of f d l b c p s, with commas for several", build: typeTest},
	{name: "-size", arg: "N[cwbkMG]", usage: "size in units, rounded up; b (512 bytes) by default", build: sizeTest, inode: true},
	{name: "-empty", usage: "an empty file or directory", build: emptyTest, inode: true},
	{name: "-mtime", arg: "N", usage: "data changed N days ago; -atime, -ctime too", build: ageTest('m', 86400), inode: true},
	{name: "-atime", arg: "N", usage: "accessed N days ago", build: ageTest('a', 86400), inode: true},
	{name: "-ctime", arg: "N", usage: "inode changed N days ago", build: ageTest('c', 86400), inode: true},
	{name: "-mmin", arg: "N", usage: "data changed N minutes ago; -amin, -cmin too", build: ageTest('m', 60), inode: true},
	{name: "-amin", arg: "N", usage: "accessed N minutes ago", build: ageTest('a', 60), inode: true},
	{name: "-cmin", arg: "N", usage: "inode changed N minutes ago", build: ageTest('c', 60), inode: true},
	{name: "-newer", arg: "IMAGE:/PATH", usage: "data changed later than that file's", build: newerFileTest, inode: true},
	{name: "-newermt", arg: "TIME", usage: "data changed later than 2024-01-31[ 12:00[:00]] or @SECONDS", build: newerTimeTest, inode: true},
	{name: "-perm", arg: "[-/]MODE", usage: "permissions are MODE, -MODE: all of these set, /MODE: any", build: permTest, inode: true},
	{name: "-user, -uid", arg: "NAME|N", usage: "owner", build: ownerTest(false), inode: true},
	{name: "-group, -gid", arg: "NAME|N", usage: "group", build: ownerTest(true), inode: true},
	{name: "-inum", arg: "N", usage: "inode number", build: numberTest(func(s *subject) int64 { return int64(s.num) })},
	{name: "-links", arg: "N", usage: "number of links", build: numberTest(func(s *subject) int64 { return int64(s.stat().Links) }), inode: true},
	{name: "-xattr", arg: "NAME", usage: "has an extended attribute that matches", build: xattrTest, inode: true},
	{name: "-true", usage: "holds always", build: constTest(true)},
	{name: "-false", usage: "holds never", build: constTest(false)},
	{name: "-maxdepth", arg: "N", usage: "go down N levels at most", build: depthOption(func(f *finder, n int) { f.maxDepth = n })},
	{name: "-mindepth", arg: "N", usage: "judge nothing above level N", build: depthOption(func(f *finder, n int) { f.minDepth = n })},
	{name: "-depth", usage: "what a directory holds before itself", build: func(f *finder, _ string) (matcher, error) {
		f.depthFirst = true
		return constTest(true)(f, "")
	}},
	{name: "-prune", usage: "do not go down", build: func(f *finder, _ string) (matcher, error) {
		return func(*subject) bool { f.prune = true; return true }, nil
	}},
	{name: "-quit", usage: "end here", action: true, build: func(f *finder, _ string) (matcher, error) {
		return func(*subject) bool { f.quit = true; return true }, nil
	}},
	{name: "-print", usage: "print the path (done if no action is given)", action: true, build: buildPrint},
	{name: "-print0", usage: "print the path and a NUL", action: true, build: buildPrint0},
	{name: "-ls", usage: "print a line like that of ls -dils", action: true, inode: true, build: buildLs},
	{name: "-printf", arg: "FORMAT", usage: "print by FORMAT", action: true, inode: true, build: buildPrintf},
}

func constTest(v bool) func(*finder, string) (matcher, error) {
	return func(*finder, string) (matcher, error) { return func(*subject) bool { return v }, nil }
}

func nameTest(fold bool) func(*finder, string) (matcher, error) {
	return func(_ *finder, pattern string) (matcher, error) {
		p := shellClass(pattern)
		if fold {
			p = strings.ToLower(p)
		}
		if _, err := path.Match(p, ""); err != nil {
			return nil, err
		}
		return func(s *subject) bool {
			name := s.name
			if fold {
				name = strings.ToLower(name)
			}
			if name == "/" {
				return p == "/" || p == "*" || p == "?"
			}
			ok, _ := path.Match(p, name)
			return ok
		}, nil
	}
}

// anyGlob turns a glob into a regular expression whose * and ? match slashes.
func anyGlob(pattern string, fold bool) (*regexp.Regexp, error) {
	if _, err := path.Match(shellClass(pattern), ""); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("(?s")
	if fold {
		b.WriteString("i")
	}
	b.WriteString(")^(?:")
	p := shellClass(pattern)
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteString(".")
		case c == '[':
			// path.Match found the class well formed, and shellClass left
			// nothing in it that means more to regexp.
			end := i + 1
			for end < len(p)-1 && p[end] != ']' {
				if p[end] == '\\' {
					end++
				}
				end++
			}
			b.WriteString(p[i : end+1])
			i = end
		case c == '\\' && i+1 < len(p):
			i++
			b.WriteString(regexp.QuoteMeta(p[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(p[i : i+1]))
		}
	}
	b.WriteString(")$")
	return regexp.Compile(b.String())
}

func pathTest(fold bool) func(*finder, string) (matcher, error) {
	return func(_ *finder, pattern string) (matcher, error) {
		re, err := anyGlob(pattern, fold)
		return func(s *subject) bool { return re.MatchString(s.path) }, err
	}
}

func regexTest(_ *finder, arg string) (matcher, error) {
	re, err := regexp.Compile("^(?:" + arg + ")$")
	return func(s *subject) bool { return re.MatchString(s.path) }, err
}

func linkNameTest(_ *finder, pattern string) (matcher, error) {
	re, err := anyGlob(pattern, false)
	return func(s *subject) bool { return s.mode()&disk.ModeType == disk.ModeSymlink && re.MatchString(s.target()) }, err
}

func typeTest(f *finder, arg string) (matcher, error) {
	var want []uint16
	for _, letter := range strings.Split(arg, ",") {
		i := strings.Index("fdlbcps", letter)
		if len(letter) != 1 || i < 0 {
			return nil, fmt.Errorf("want one of f d l b c p s")
		}
		want = append(want, [...]uint16{disk.ModeRegular, disk.ModeDir, disk.ModeSymlink, disk.ModeBlock,
			disk.ModeChar, disk.ModeFIFO, disk.ModeSocket}[i])
	}
	return func(s *subject) bool {
		for _, t := range want {
			if s.mode()&disk.ModeType == t {
				return true
			}
		}
		return false
	}, nil
}

// compare is a number with its sign: +N more, -N less, N just that.
type compare struct {
	sign byte
	n    int64
}

func parseCompare(s string) (compare, error) {
	var c compare
	if s != "" && (s[0] == '+' || s[0] == '-') {
		c.sign, s = s[0], s[1:]
	}
	n, err := strconv.ParseInt(s, 10, 63)
	if err != nil || n < 0 {
		return c, fmt.Errorf("want a number")
	}
	c.n = n
	return c, nil
}

func (c compare) holds(n int64) bool {
	switch c.sign {
	case '+':
		return n > c.n
	case '-':
		return n < c.n
	}
	return n == c.n
}

func numberTest(value func(*subject) int64) func(*finder, string) (matcher, error) {
	return func(_ *finder, arg string) (matcher, error) {
		c, err := parseCompare(arg)
		return func(s *subject) bool { return (s.inode == nil || s.stat() != nil) && c.holds(value(s)) }, err
	}
}

func sizeTest(_ *finder, arg string) (matcher, error) {
	unit := int64(512)
	if arg != "" {
		if i := strings.IndexByte("cwbkMG", arg[len(arg)-1]); i >= 0 {
			unit = [...]int64{1, 2, 512, 1 << 10, 1 << 20, 1 << 30}[i]
			arg = arg[:len(arg)-1]
		}
	}
	c, err := parseCompare(arg)
	return func(s *subject) bool {
		st := s.stat()
		return st != nil && c.holds(st.Size/unit+min(st.Size%unit, 1))
	}, err
}

func emptyTest(*finder, string) (matcher, error) {
	return func(s *subject) bool {
		switch {
		case s.inode == nil:
			return false
		case s.inode.IsRegular():
			return s.inode.Size() == 0
		case !s.inode.IsDir():
			return false
		}
		for entry, err := range s.inode.Entries() {
			if err != nil || !ext4fs.IsDots(entry) {
				return false
			}
		}
		return true
	}, nil
}

func ageTest(which byte, unit int64) func(*finder, string) (matcher, error) {
	return func(f *finder, arg string) (matcher, error) {
		c, err := parseCompare(arg)
		return func(s *subject) bool {
			return s.stat() != nil && c.holds((f.now-s.time(which).Unix())/unit)
		}, err
	}
}

func newerThan(when time.Time) matcher {
	return func(s *subject) bool { return s.stat() != nil && s.stat().Mtime.After(when) }
}

func newerFileTest(f *finder, arg string) (matcher, error) {
	n, err := f.e.resolveOne(arg, noFollowLast)
	if err != nil {
		return nil, err
	}
	return newerThan(n.inode.Stat().Mtime), nil
}

func newerTimeTest(f *finder, arg string) (matcher, error) {
	when, err := parseTime(arg, f.e.local)
	return newerThan(when), err
}

// parseTime reads @SECONDS, RFC 3339, or a date with or without a time.
func parseTime(s string, local *time.Location) (time.Time, error) {
	if rest, ok := strings.CutPrefix(s, "@"); ok {
		n, err := strconv.ParseInt(rest, 10, 64)
		if err != nil {
			return time.Time{}, fmt.Errorf("want @SECONDS")
		}
		return time.Unix(n, 0), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("want a time such as 2024-01-31, 2024-01-31 12:00:00 or @1700000000")
}

func permTest(_ *finder, arg string) (matcher, error) {
	kind := byte(0)
	if arg != "" && (arg[0] == '-' || arg[0] == '/') {
		kind, arg = arg[0], arg[1:]
	}
	want, err := parseMode(arg)
	return func(s *subject) bool {
		if s.inode == nil {
			return false
		}
		have := s.mode() & 0o7777
		switch kind {
		case '-':
			return have&want == want
		case '/':
			return want == 0 || have&want != 0
		}
		return have == want
	}, err
}

// parseMode reads permissions: octal, or symbols such as u+rw,g=r on an empty
// mode.
func parseMode(s string) (uint16, error) {
	if n, err := strconv.ParseUint(s, 8, 12); err == nil {
		return uint16(n), nil
	}
	var mode uint16
	for _, clause := range strings.Split(s, ",") {
		i := strings.IndexAny(clause, "+=")
		if i < 0 {
			return 0, fmt.Errorf("want permissions such as 4755 or u+s,g=r")
		}
		var who uint16
		for _, c := range clause[:i] {
			switch c {
			case 'u':
				who |= 0o4700
			case 'g':
				who |= 0o2070
			case 'o':
				who |= 0o1007
			case 'a':
				who |= 0o7777
			default:
				return 0, fmt.Errorf("want u, g, o or a before %q", clause[i:])
			}
		}
		if who == 0 {
			who = 0o7777
		}
		for _, c := range clause[i+1:] {
			bits, ok := map[rune]uint16{'r': 0o444, 'w': 0o222, 'x': 0o111, 's': 0o6000, 't': 0o1000}[c]
			if !ok {
				return 0, fmt.Errorf("want r, w, x, s or t after %q", clause[:i+1])
			}
			if c == 't' {
				mode |= bits
				continue
			}
			mode |= bits & who
		}
	}
	return mode, nil
}

func ownerTest(group bool) func(*finder, string) (matcher, error) {
	return func(f *finder, arg string) (matcher, error) {
		want, err := parseOwner(arg)
		return func(s *subject) bool {
			st := s.stat()
			if st == nil {
				return false
			}
			if group {
				return want.holds(f.e.ownersOf(s.img).groups, st.GID)
			}
			return want.holds(f.e.ownersOf(s.img).users, st.UID)
		}, err
	}
}

// ownerWanted is a name, a number, or +N or -N.
type ownerWanted struct {
	name   string
	number compare
}

func parseOwner(arg string) (ownerWanted, error) {
	if arg == "" {
		return ownerWanted{}, fmt.Errorf("want a name or a number")
	}
	if arg[0] != '+' && arg[0] != '-' {
		return ownerWanted{name: arg}, nil
	}
	c, err := parseCompare(arg)
	return ownerWanted{number: c}, err
}

func (o ownerWanted) holds(names map[uint32]string, id uint32) bool {
	if o.name == "" {
		return o.number.holds(int64(id))
	}
	n, ok := number(names, o.name)
	return ok && n == id
}

func xattrTest(_ *finder, pattern string) (matcher, error) {
	re, err := anyGlob(pattern, false)
	return func(s *subject) bool {
		if s.inode == nil {
			return false
		}
		attrs, _ := s.inode.Xattrs()
		for _, a := range attrs {
			if re.MatchString(a.Name) {
				return true
			}
		}
		return false
	}, err
}

func depthOption(set func(*finder, int)) func(*finder, string) (matcher, error) {
	return func(f *finder, arg string) (matcher, error) {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("want a number")
		}
		set(f, n)
		return constTest(true)(f, "")
	}
}
