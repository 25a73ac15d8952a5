package format

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/tree"
)

// shuffled is a copy of a tree whose nodes came in another order.
func shuffled(t *testing.T, from *tree.Tree, seed uint64) *tree.Tree {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 3))
	to := tree.New()
	ids := map[tree.ID]tree.ID{}
	copyNode := func(a, b tree.ID) {
		src, dst := from.Node(a), to.Node(b)
		dst.Mode, dst.UID, dst.GID, dst.Atime, dst.Mtime, dst.Ctime = src.Mode, src.UID, src.GID, src.Atime, src.Mtime, src.Ctime
		to.SetXattrs(b, append([]tree.Xattr(nil), from.Xattrs(a)...))
	}
	copyNode(tree.Root, tree.Root)
	todo := [][2]tree.ID{{tree.Root, tree.Root}}
	for len(todo) > 0 {
		k := rnd.IntN(len(todo))
		d := todo[k]
		todo = append(todo[:k], todo[k+1:]...)
		entries := from.Entries(d[0])
		rnd.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		for _, e := range entries {
			if id, ok := ids[e.ID]; ok {
				if err := to.Link(d[1], e.Name, id); err != nil {
					t.Fatal(err)
				}
				continue
			}
			n := *from.Node(e.ID)
			id, err := to.Add(d[1], e.Name, n)
			if err != nil {
				t.Fatal(err)
			}
			ids[e.ID] = id
			copyNode(e.ID, id)
			switch {
			case n.IsDir():
				todo = append(todo, [2]tree.ID{e.ID, id})
			case n.IsSymlink():
				err = to.SetTarget(id, from.Target(e.ID))
			case n.IsRegular():
				err = to.SetContent(id, sameContent{from, e.ID})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return to
}

// sameContent is the content of a file of another tree.
type sameContent struct {
	t  *tree.Tree
	id tree.ID
}

func (s sameContent) Open() (tree.File, error)    { return s.t.Open(s.id) }
func (s sameContent) Spans() ([]tree.Span, error) { return s.t.Spans(s.id) }

func TestWrite_reproducible(t *testing.T) {
	tr := newRandomTree(5, 500, true)
	for i, o := range []Options{
		{Size: SizeAuto},
		{Size: 96 << 20, Features: []string{"inline_data", "ea_inode", "quota", "metadata_csum_seed"}, BlockSize: 1024},
		{Size: SizeMin, Type: "ext3"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
			o.Reproducible, o.Zeroed = true, true
			o.Time = time.Unix(1_700_000_000, 0)
			var first [sha256.Size]byte
			var uuid [16]byte
			for k, procs := range []int{1, 8, 3} {
				runtime.GOMAXPROCS(procs)
				j, err := Plan(t.Context(), o, shuffled(t, tr, uint64(k)))
				if err != nil {
					t.Fatal(err)
				}
				w := device.NewRAM(j.Size())
				r, err := j.Write(t.Context(), w)
				if err != nil {
					t.Fatal(err)
				}
				sum := ramSum(t, w)
				again := device.NewRAM(j.Size())
				if _, err := j.Write(t.Context(), again); err != nil || ramSum(t, again) != sum {
					t.Fatalf("written twice: another image, %v", err)
				}
				if k == 0 {
					first, uuid = sum, r.UUID
				} else if sum != first {
					t.Fatalf("with %d processors: another image, UUIDs %x and %x", procs, uuid, r.UUID)
				}
			}
			// Other content is another file system.
			other := shuffled(t, tr, 9)
			id, err := other.Add(tree.Root, "more", tree.Node{Mode: disk.ModeRegular | 0o600, Size: 3})
			if err == nil {
				err = other.SetContent(id, tree.Bytes([]byte("abc")))
			}
			if err != nil {
				t.Fatal(err)
			}
			var uuids [2][16]byte
			for k := range uuids {
				j, err := Plan(t.Context(), o, other)
				if err != nil {
					t.Fatal(err)
				}
				r, err := j.Write(t.Context(), device.NewRAM(j.Size()))
				if err != nil {
					t.Fatal(err)
				}
				uuids[k] = r.UUID
				if err := other.SetContent(id, tree.Bytes([]byte("abd"))); err != nil {
					t.Fatal(err)
				}
			}
			if uuids[0] == uuid || uuids[0] == uuids[1] {
				t.Fatalf("UUIDs %x, %x, %x", uuid, uuids[0], uuids[1])
			}
		})
	}
}

func ramSum(t *testing.T, w *device.RAM) (sum [sha256.Size]byte) {
	t.Helper()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for off := int64(0); off < w.Size(); off += int64(len(buf)) {
		n := min(int64(len(buf)), w.Size()-off)
		if _, err := w.ReadAt(buf[:n], off); err != nil {
			t.Fatal(err)
		}
		h.Write(buf[:n])
	}
	h.Sum(sum[:0])
	return sum
}
