package pax

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/xattr"
	"github.com/e4kit/e4kit/testimages"
)

// ReaderAt without a size, as a spool that is still being written.
type plainAt struct{ io.ReaderAt }

// seen is a member with its content spread out.
type seen struct {
	Header
	data []byte
}

func readAll(t testing.TB, r *Reader, stream []byte) ([]seen, error) {
	t.Helper()
	var list []seen
	for {
		h, err := r.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return list, err
		}
		if at := stream[min(h.Offset, int64(len(stream))):]; !bytes.Equal(data, at[:min(h.Stored, int64(len(at)))]) {
			t.Errorf("%q: data is not at %d", h.Name, h.Offset)
		}
		if h.Sparse && h.Size <= 64<<20 {
			full := make([]byte, h.Size)
			for _, p := range h.Pieces {
				copy(full[p.Off:p.Off+p.Len], data)
				data = data[p.Len:]
			}
			data = full
		}
		list = append(list, seen{*h, data})
	}
}

func tool(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// TestReader_tools reads what GNU tar and bsdtar make of the same tree.
func TestReader_tools(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("long-name-", 20)
	mtime := time.Unix(1700000000, 123456789)
	holes := make([]byte, 3<<20)
	copy(holes[1<<20:], bytes.Repeat([]byte("data"), 2048))
	for name, data := range map[string][]byte{"plain": []byte("hello"), "empty": nil, long: []byte(long), "hölz\n": []byte("x")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, "holes"))
	if err != nil {
		t.Fatal(err)
	}
	for off := int64(0); off < 3<<20; off += 1 << 19 { // seven pieces: more than fit a header
		f.WriteAt([]byte("piece"), off)
	}
	f.WriteAt(holes[1<<20:1<<20+8192], 1<<20)
	if err := errors.Join(f.Truncate(3<<20+5), f.Close()); err != nil {
		t.Fatal(err)
	}
	if holes, err = os.ReadFile(filepath.Join(dir, "holes")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(long, filepath.Join(dir, "link")), os.Link(filepath.Join(dir, "plain"), filepath.Join(dir, "second"))); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(filepath.Join(dir, "plain"), mtime, mtime)
	for _, tt := range []struct {
		tool string
		args []string
	}{
		{"tar", []string{"--format=pax", "-S"}},
		{"tar", []string{"--format=pax", "-S", "--sparse-version=0.1"}},
		{"tar", []string{"--format=pax", "-S", "--sparse-version=0.0"}},
		{"tar", []string{"--format=gnu", "-S"}},
		{"tar", []string{"--format=gnu", "--incremental"}},
		{"tar", []string{"--format=oldgnu", "-S"}},
		{"tar", []string{"--format=ustar", "--exclude=long*", "--exclude=link"}},
		{"tar", []string{"--format=v7", "--exclude=long*", "--exclude=link"}},
		{"bsdtar", []string{"--format=pax"}},
		{"bsdtar", []string{"--format=pax", "--no-read-sparse"}},
		{"bsdtar", []string{"--format=gnutar"}},
		{"bsdtar", []string{"--format=ustar", "--exclude=long*", "--exclude=link"}},
	} {
		t.Run(strings.Join(append([]string{tt.tool}, tt.args...), " "), func(t *testing.T) {
			testimages.RequireTool(t, tt.tool)
			file := filepath.Join(t.TempDir(), "x.tar")
			tool(t, dir, tt.tool, append([]string{"-cf", file}, append(tt.args, ".")...)...)
			stream, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			list, err := readAll(t, NewReaderAt(bytes.NewReader(stream), int64(len(stream))), stream)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]seen{}
			for _, m := range list {
				got[strings.TrimSuffix(strings.TrimPrefix(m.Name, "./"), "/")] = m
			}
			text := strings.Join(tt.args, " ")
			m := got["plain"]
			if got["second"].Type == TypeRegular {
				m = got["second"] // it came first
			}
			if string(m.data) != "hello" || m.Mode&0o7777 != 0o640 || m.Mtime.Unix() != mtime.Unix() ||
				strings.Contains(text, "pax") && !m.Mtime.Equal(mtime) {
				t.Errorf("plain: %+v", m)
			}
			if a, b := got["plain"].Type, got["second"].Type; a+b != TypeRegular+TypeLink {
				t.Errorf("types of a file with two names: %c %c", a, b)
			}
			if m := got["holes"]; !bytes.Equal(m.data, holes) || m.Sparse != strings.Contains(text, "-S") && tt.tool == "tar" {
				t.Errorf("holes: %+v", m.Header)
			} else if m.Sparse && m.Stored > 1<<20 {
				t.Errorf("holes: %d bytes stored", m.Stored)
			}
			if m := got["hölz\n"]; string(m.data) != "x" {
				t.Errorf("names: %q", slices.Collect(func(yield func(string) bool) {
					for k := range got {
						yield(k)
					}
				}))
			}
			if !strings.Contains(text, "exclude") && (string(got[long].data) != long || got["link"].Link != long) {
				t.Errorf("long names: %+v", got["link"])
			}
			if h := got[""]; h.Type != TypeDir && h.Type != TypeDumpDir {
				t.Errorf("top: %+v", h)
			}
		})
	}
}

func block(edit func(b []byte), fields ...string) []byte {
	h := header{name: "name", mode: 0o644, mtime: time.Unix(5, 0), kind: TypeRegular}
	b := h.bytes()
	for k := 0; k+1 < len(fields); k += 2 {
		b = append(extended("name", []record{{fields[k], fields[k+1]}}), b...)
	}
	if edit != nil {
		edit(b[len(b)-blockSize:])
		putChecksum(b[len(b)-blockSize:])
	}
	return b
}

func records(list ...record) []byte {
	h := header{name: "name", kind: TypeRegular, records: list}
	return h.bytes()
}

// TestReader_hostile: what is wrong is an error, and costs neither memory nor
// time that its bytes do not pay for.
func TestReader_hostile(t *testing.T) {
	sized := func(kind byte, size int64) func([]byte) {
		return func(b []byte) { b[156] = kind; putOctal(b[124:136], size) }
	}
	end := make([]byte, 1024)
	var many []byte
	for range 20 {
		many = append(many, extended("n", []record{{"comment", strings.Repeat("x", 1<<20)}})...)
	}
	var pairs strings.Builder
	for k := range 10 {
		fmt.Fprintf(&pairs, "%d,1,", 3-k)
	}
	for _, tt := range []struct {
		name   string
		stream []byte
		want   error
	}{
		{"garbage", bytes.Repeat([]byte("garbage!"), 64), ErrHeader},
		{"empty", nil, nil},
		{"end mark only", end, nil},
		{"cut header", block(nil)[:100], io.ErrUnexpectedEOF},
		{"cut data", block(sized(TypeRegular, 1000)), io.ErrUnexpectedEOF},
		{"negative size", block(func(b []byte) { copy(b[124:136], bytes.Repeat([]byte{0xff}, 12)) }), ErrHeader},
		{"huge size", block(func(b []byte) {
			copy(b[124:136], append([]byte{0x80, 0, 0, 0, 0x07}, bytes.Repeat([]byte{0xff}, 7)...))
		}), io.ErrUnexpectedEOF},
		{"size beyond 63 bits", block(func(b []byte) { copy(b[124:136], append([]byte{0x80, 0, 0, 0, 0xff}, make([]byte, 7)...)) }), ErrHeader},
		{"largest size", append(block(nil, "size", "9223372036854775807"), end...), ErrHeader},
		{"no octal", block(func(b []byte) { copy(b[100:108], "000964x\x00") }), ErrHeader},
		{"records of GiBs", block(sized(typeExtended, 3<<30)), ErrHeader},
		{"records of MiBs, many times", many, ErrHeader},
		{"long name of MiBs", block(sized(typeLongName, 2<<20)), ErrHeader},
		{"only an extended header", append(extended("n", []record{{"path", "x"}}), end...), io.ErrUnexpectedEOF},
		{"record length", append(bytes.Replace(extended("n", []record{{"path", "x"}}), []byte("9 path"), []byte("8 path"), 1), end...), ErrHeader},
		{"uid", block(nil, "uid", "-1"), ErrHeader},
		{"time", block(nil, "mtime", "1.x"), ErrHeader},
		{"sparse without data", append(records(record{"GNU.sparse.size", "100"}, record{"GNU.sparse.map", "0,5"}), end...), ErrHeader},
		{"sparse beyond its end", append(records(record{"GNU.sparse.size", "100"}, record{"GNU.sparse.map", "98,5"}), end...), ErrHeader},
		{"sparse backwards", append(records(record{"GNU.sparse.size", "100"}, record{"GNU.sparse.map", pairs.String() + "9,1"}), end...), ErrHeader},
		{"sparse odd", append(records(record{"GNU.sparse.size", "100"}, record{"GNU.sparse.map", "1"}), end...), ErrHeader},
		{"sparse overflow", append(records(record{"GNU.sparse.size", "9223372036854775807"}, record{"GNU.sparse.map", "9223372036854775807,9223372036854775807"}), end...), ErrHeader},
		{"sparse map missing", append(records(record{"GNU.sparse.major", "1"}, record{"GNU.sparse.minor", "0"}, record{"GNU.sparse.realsize", "5"}), end...), ErrHeader},
		{"all holes", append(records(record{"GNU.sparse.size", "9223372036854775807"}, record{"GNU.sparse.map", "9223372036854775807,0"}), end...), nil},
		{"old sparse negative", block(func(b []byte) {
			sized(typeSparse, 0)(b)
			copy(b[257:], "ustar  \x00")
			copy(b[483:495], bytes.Repeat([]byte{0xff}, 12))
		}), ErrHeader},
		{"old sparse goes on", block(func(b []byte) {
			sized(typeSparse, 0)(b)
			copy(b[257:], "ustar  \x00")
			b[482] = 1
		}), io.ErrUnexpectedEOF},
	} {
		size := int64(len(tt.stream))
		for kind, r := range map[string]*Reader{
			"stream": NewReader(bytes.NewReader(tt.stream)), "file": NewReaderAt(bytes.NewReader(tt.stream), size),
			"growing file": NewReaderAt(plainAt{bytes.NewReader(tt.stream)}, -1),
		} {
			var err error
			for err == nil {
				_, err = r.Next()
			}
			if err == io.EOF {
				err = nil
			}
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("%s, %s: %v, want %v", tt.name, kind, err, tt.want)
			}
		}
	}
}

// TestReader_zeroPieces: pieces without data cost no memory, and touching ones
// become one.
func TestReader_zeroPieces(t *testing.T) {
	var text strings.Builder
	for range 100000 {
		text.WriteString("0,0,")
	}
	h := header{name: "n", kind: TypeRegular, size: 6, records: []record{
		{"GNU.sparse.size", "100"}, {"GNU.sparse.map", text.String() + "10,2,12,3,50,0,60,1,100,0"}}}
	stream := append(append(h.bytes(), "abcdef"...), make([]byte, blockSize-6+1024)...)
	got, err := NewReader(bytes.NewReader(stream)).Next()
	if err != nil || !slices.Equal(got.Pieces, []Span{{10, 5}, {60, 1}}) || got.Size != 100 || got.Stored != 6 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestReader_fields reads numbers and times in all their forms.
func TestReader_fields(t *testing.T) {
	b := block(func(b []byte) {
		copy(b[100:108], " 644 \x00xx")                              // blanks around, remains behind
		copy(b[108:116], []byte{0x80, 0, 0, 0, 0xff, 0xff, 0xff, 1}) // base 256
		copy(b[116:124], "       \x00")                              // empty
		copy(b[136:148], bytes.Repeat([]byte{0xff}, 12))             // -1
		copy(b[257:], "ustar  \x00")
		copy(b[345:], "00000000007\x0000000000010\x00")
	})
	h, err := NewReader(bytes.NewReader(b)).Next()
	if err != nil || h.Mode != 0o644 || h.UID != 0xffffff01 || h.GID != 0 || h.Mtime.Unix() != -1 || h.Atime.Unix() != 7 || h.Ctime.Unix() != 8 {
		t.Errorf("%+v, %v", h, err)
	}
	for text, want := range map[string]time.Time{
		"5": time.Unix(5, 0), "5.": time.Unix(5, 0), "-0.5": time.Unix(-1, 5e8), "-1.75": time.Unix(-2, 25e7),
		"1.1234567891": time.Unix(1, 123456789), "1.12": time.Unix(1, 12e7),
	} {
		h, err := NewReader(bytes.NewReader(block(nil, "mtime", text, "atime", text, "ctime", text))).Next()
		if err != nil || !h.Mtime.Equal(want) || !h.Atime.Equal(want) || !h.Ctime.Equal(want) {
			t.Errorf("%s: %v %v %v, %v", text, h.Mtime, h.Atime, h.Ctime, err)
		}
	}
}

// TestReader_global: global records count until a member says otherwise.
func TestReader_global(t *testing.T) {
	global := extended("g", []record{{"uid", "7"}, {"SCHILY.xattr.user.a", "b"}, {"mtime", "9"}})
	global[156] = typeGlobal
	putChecksum(global[:blockSize])
	stream := slices.Concat(global, block(nil), block(nil, "uid", "", "SCHILY.xattr.user.a", "c", "SCHILY.xattr.user.e", ""))
	r := NewReader(bytes.NewReader(stream))
	h, err := r.Next()
	if err != nil || h.UID != 7 || h.Mtime.Unix() != 9 {
		t.Fatalf("%+v, %v", h, err)
	}
	if x, err := h.Xattrs(xattr.IDs{}); err != nil || fmt.Sprint(x) != "[{user.a [98]}]" {
		t.Error(x, err)
	}
	h, err = r.Next()
	if err != nil || h.UID != 0 {
		t.Fatalf("%+v, %v", h, err)
	}
	if x, err := h.Xattrs(xattr.IDs{}); err != nil || fmt.Sprint(x) != "[{user.a [99]} {user.e []}]" {
		t.Error(x, err)
	}
}

func TestHeader_members(t *testing.T) {
	for _, tt := range []struct {
		name string
		want string
		err  error
	}{
		{"a/b", "a b", nil}, {"./a//b/", "a b", nil}, {".", "", nil}, {"", "", nil}, {"/", "", nil}, {"/etc/x", "etc x", nil},
		{"..", "", ErrDotDot}, {"a/../b", "", ErrDotDot}, {"/../b", "", ErrDotDot}, {"a/..b/...", "a ..b ...", nil},
	} {
		if got, err := SplitName(tt.name); strings.Join(got, " ") != tt.want || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
			t.Errorf("%q: %q, %v", tt.name, got, err)
		}
	}
	for _, h := range []Header{{UID: -1}, {GID: math.MaxUint32 + 1}} {
		if _, _, err := h.Owner(); !errors.Is(err, ErrOwner) {
			t.Errorf("%+v: %v", h, err)
		}
	}
	for _, h := range []Header{{Major: -1}, {Major: 4096}, {Minor: 1 << 20}} {
		if _, _, err := h.Device(); !errors.Is(err, ErrDevice) {
			t.Errorf("%+v: %v", h, err)
		}
	}
	h := Header{local: map[string]string{
		"SCHILY.xattr.user.%3D%25": "1", "LIBARCHIVE.xattr.user.%3D%25": "AQ", "LIBARCHIVE.xattr.user.b%2fc": "AQI=", "LIBARCHIVE.xattr.user.bad": "!",
		"SCHILY.acl.access": "user::rw-,group::r--,other::r--", "SCHILY.acl.default": "nonsense",
	}}
	got, err := h.Xattrs(xattr.IDs{})
	var names []string
	for _, x := range got {
		names = append(names, fmt.Sprintf("%s=%q", x.Name, x.Value))
	}
	if want := `system.posix_acl_access=`; err == nil || len(names) != 3 || !strings.HasPrefix(names[0], want) ||
		names[1] != `user.=%="1"` && names[1] != `user.=%="\x01"` || names[2] != `user.b/c="\x01\x02"` {
		t.Errorf("%q, %v", names, err)
	}
}

// TestHeader_aclOfUnknownName takes the ACL in numbers where its text has a name
// that is not known here.
func TestHeader_aclOfUnknownName(t *testing.T) {
	text := "user::rw-\nuser:nobody-here:rwx\ngroup::r--\nmask::rwx\nother::r--\n"
	h := Header{local: map[string]string{"SCHILY.acl.access": text, "SCHILY.xattr.system.posix_acl_access": "numbers"}}
	got, err := h.Xattrs(xattr.IDs{})
	if err != nil || len(got) != 1 || got[0].Name != "system.posix_acl_access" || string(got[0].Value) != "numbers" {
		t.Errorf("%q, %v", got, err)
	}
	known := xattr.IDs{User: func(string) (uint32, bool) { return 1000, true }}
	if got, err = h.Xattrs(known); err != nil || len(got) != 1 || string(got[0].Value) == "numbers" {
		t.Errorf("known: %q, %v", got, err)
	}
	delete(h.local, "SCHILY.xattr.system.posix_acl_access")
	if got, err = h.Xattrs(xattr.IDs{}); err == nil || len(got) != 0 {
		t.Errorf("without numbers: %q, %v", got, err)
	}
}

// The mode of a file with an ACL has the mask where the group's rights are.
func TestHeader_lostACL(t *testing.T) {
	const access, numbers, libarchive = "SCHILY.acl.access", "SCHILY.xattr.system.posix_acl_access", "LIBARCHIVE.xattr.system.posix_acl_access"
	known := xattr.IDs{User: func(name string) (uint32, bool) { return 1000, name == "ada" }}
	for _, tt := range []struct {
		records map[string]string
		group   uint16
		lost    bool
	}{
		{map[string]string{access: "user::rw-\nuser:nobody-here:rwx\ngroup::r--\nmask::rwx\nother::r--\n"}, 4, true},
		{map[string]string{access: "user::rw-,group::rwx,group:nobody-here:r-x,mask::r-x,other::r--"}, 5, true},
		{map[string]string{access: "user::rw-,group::---,group:a:rwx,user:b:rwx,mask::rwx,other::---"}, 0, true},
		{map[string]string{access: "user::rw-,user:ada:rwx,group::r--,mask::rwx,other::r--"}, 0, false},
		{map[string]string{access: "user::rw-,user:nobody-here:rwx:7,group::r--,mask::rwx,other::r--"}, 0, false},
		{map[string]string{access: "user::rw-,user:x:rwx,group::r--,mask::rwx,other::r--", numbers: "n"}, 0, false},
		{map[string]string{access: "user::rw-,user:x:rwx,group::r--,mask::rwx,other::r--", libarchive: "bg"}, 0, false},
		{map[string]string{access: "nonsense"}, 0, false},
		{map[string]string{"SCHILY.acl.default": "user::rw-,user:x:rwx,group::r--,mask::rwx,other::r--"}, 0, false},
		{nil, 0, false},
	} {
		h := Header{local: tt.records}
		if group, lost := h.LostACL(known); group != tt.group || lost != tt.lost {
			t.Errorf("%q: %o, %v", tt.records, group, lost)
		}
	}
}

// FuzzReader: the three ways of reading agree, nothing panics, and what both
// this reader and archive/tar read is the same.
func FuzzReader(f *testing.F) {
	f.Add(block(nil, "path", "x", "size", "5"))
	f.Add(records(record{"GNU.sparse.size", "100"}, record{"GNU.sparse.map", "0,0"}))
	f.Add(records(record{"GNU.sparse.major", "1"}, record{"GNU.sparse.minor", "0"}, record{"GNU.sparse.realsize", "5"}))
	f.Add(block(func(b []byte) { b[156] = typeSparse; copy(b[257:], "ustar  \x00") }))
	f.Add(block(func(b []byte) { b[156] = typeLongName; putOctal(b[124:136], 3) }))
	f.Fuzz(func(t *testing.T, stream []byte) {
		list, err := readAll(t, NewReader(bytes.NewReader(stream)), stream)
		for _, r := range []*Reader{NewReaderAt(bytes.NewReader(stream), int64(len(stream))), NewReaderAt(plainAt{bytes.NewReader(stream)}, -1)} {
			other, otherErr := readAll(t, r, stream)
			if len(other) != len(list) || fmt.Sprint(otherErr) != fmt.Sprint(err) {
				t.Fatalf("%d members, %v; %d members, %v", len(list), err, len(other), otherErr)
			}
			for i := range list {
				if list[i].Name != other[i].Name || list[i].Size != other[i].Size || !bytes.Equal(list[i].data, other[i].data) {
					t.Fatalf("%+v, %+v", list[i], other[i])
				}
			}
		}
		for _, m := range list {
			m.Xattrs(xattr.IDs{})
			m.LostACL(xattr.IDs{})
			m.FileType()
			SplitName(m.Name)
			sum, last := int64(0), int64(-1)
			for _, p := range m.Pieces {
				if p.Len <= 0 || p.Off <= last || p.Off+p.Len > m.Size {
					t.Fatalf("pieces %v of %d", m.Pieces, m.Size)
				}
				last, sum = p.Off+p.Len-1, sum+p.Len
			}
			if m.Sparse && sum != m.Stored {
				t.Fatalf("pieces %v, stored %d", m.Pieces, m.Stored)
			}
		}
		std := tar.NewReader(bytes.NewReader(stream))
		for _, m := range list {
			h, err := std.Next()
			if err != nil {
				return // it is stricter in places
			}
			if h.Typeflag == 'g' || h.Name != m.Name || h.Size != m.Size {
				return
			}
		}
	})
}
