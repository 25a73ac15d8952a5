package disk

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// list gives "off+len:inode name" of all records.
func listRecords(l DirLayout, b []byte) (out []string) {
	it := l.Iter(b)
	for it.Next() {
		d := it.Dirent()
		out = append(out, fmt.Sprintf("%d+%d:%d %s", it.Offset(), len(d), d.Inode(), d.Name()))
	}
	if it.Err() != nil {
		out = append(out, it.Err().Error())
	}
	return out
}

func TestInsertDirent(t *testing.T) {
	for _, size := range []int{1024, 4096, 65536} {
		for _, checksum := range []bool{false, true} {
			l := DirLayout{BlockSize: size, Checksum: checksum}
			b := make([]byte, size)
			l.InitLeaf(b)
			end := l.LeafEnd()
			if HasDirTail(b) != checksum {
				t.Fatal("the tail")
			}
			if got, want := listRecords(l, b), []string{fmt.Sprintf("0+%d:0 ", end)}; !slices.Equal(got, want) {
				t.Fatalf("%q, want %q", got, want)
			}
			steps := []struct {
				name string
				off  int
				at   int
			}{{"first", 0, 0}, {"b", 0, 16}, {"third-long", 16, 28}}
			for i, s := range steps {
				if at := l.InsertDirent(b, s.off, InodeNum(i+1), 1, []byte(s.name)); at != s.at {
					t.Errorf("%s is at %d", s.name, at)
				}
			}
			want := []string{"0+16:1 first", "16+12:2 b", fmt.Sprintf("28+%d:3 third-long", end-28)}
			if got := listRecords(l, b); !slices.Equal(got, want) {
				t.Fatalf("%q, want %q", got, want)
			}
			l.RemoveDirent(b, 16, 0)
			want = []string{"0+28:1 first", fmt.Sprintf("28+%d:3 third-long", end-28)}
			if got := listRecords(l, b); !slices.Equal(got, want) {
				t.Fatalf("%q, want %q", got, want)
			}
			l.RemoveDirent(b, 0, -1)
			l.RemoveDirent(b, 28, 0)
			empty := make([]byte, size)
			l.InitLeaf(empty)
			if !bytes.Equal(b, empty) {
				t.Errorf("removed names leave traces: %q", listRecords(l, b))
			}
		}
	}
}

func TestPutDirent_clearsPadding(t *testing.T) {
	l := DirLayout{BlockSize: 1024}
	b := bytes.Repeat([]byte{0xff}, 1024)
	l.PutDirent(b, 4, 24, 7, 2, []byte("abcde"))
	want := append([]byte{7, 0, 0, 0, 24, 0, 5, 2}, "abcde\x00\x00\x00\xff"...)
	if !bytes.Equal(b[4:21], want) {
		t.Errorf("% x", b[4:21])
	}
	Dirent(b[4:]).SetInode(9)
	Dirent(b[4:]).SetType(1)
	if d := Dirent(b[4:28]); d.Inode() != 9 || d.Type() != 1 || string(d.Name()) != "abcde" || l.Need(d) != 16 {
		t.Errorf("%q", d)
	}
}

func TestNeed_hashInDirent(t *testing.T) {
	l := DirLayout{BlockSize: 1024, HashInDirent: true}
	b := make([]byte, 1024)
	l.PutDirent(b, 0, 32, 7, 1, []byte("0123456789abcdef"))
	if n := l.Need(Dirent(b)); n != 32 {
		t.Errorf("%d", n)
	}
	l.PutDirent(b, 0, 12, 7, 1, []byte(".."))
	if n := l.Need(Dirent(b)); n != 12 {
		t.Errorf("%d", n)
	}
}

func TestInitDX(t *testing.T) {
	for _, size := range []int{1024, 4096, 65536} {
		for _, checksum := range []bool{false, true} {
			l := DirLayout{BlockSize: size, Checksum: checksum}
			root := make([]byte, size)
			l.InitDXRoot(root, 12, 2, FileTypeDir, HashTEA, 1)
			plain := l
			plain.Checksum = false
			if got, want := listRecords(plain, root), []string{"0+12:12 .", fmt.Sprintf("12+%d:2 ..", size-12)}; !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			for i := 1; i < 6; i++ {
				InsertDX(root, 32, 0, uint32(100-i*2), LogicalNum(i+1)) // each in front of the others
			}
			i, e, err := l.DXRoot(root)
			if err != nil || i.Hash != HashTEA || i.Levels != 0 || e.Count() != 6 || e.Block(0) != 1 || e.Key(1) != 90 || e.Block(1) != 6 || e.Key(5) != 98 || e.Block(5) != 2 {
				t.Errorf("%+v %v % x", i, err, e)
			}
			node := make([]byte, size)
			l.InitDXNode(node, e[2*DXEntrySize:], 4)
			n, err := l.DXNode(node)
			if err != nil || n.Count() != 4 || n.Block(0) != 5 || n.Key(1) != 94 || n.Block(3) != 2 {
				t.Errorf("%v % x", err, n)
			}
			CutDX(root, 32, 2)
			SetDXBlock(root, 32, 1, 77)
			if _, e, err = l.DXRoot(root); err != nil || e.Count() != 2 || e.Key(1) != 90 || e.Block(1) != 77 {
				t.Errorf("%v % x", err, e)
			}
			if !bytes.Equal(root[48:80], make([]byte, 32)) {
				t.Error("what was cut off is still there")
			}
			if checksum && (!SealDX(1, root, 32) || !SealDX(1, node, 8)) {
				t.Error("not sealed")
			}
		}
	}
}
