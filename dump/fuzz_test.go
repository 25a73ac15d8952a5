package dump

import (
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// patch is where a fuzzed image differs from the demo image: five bytes each,
// an offset in units of four bytes and the byte to put there.
const patchSize = 5

// FuzzImage dumps everything of the demo image with some of its bytes changed.
func FuzzImage(f *testing.F) {
	base := demo(f)
	at := func(off int, c byte) []byte {
		n := uint32(off / 4)
		return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(off % 4), c}
	}
	f.Add([]byte{})
	f.Add(at(1024+0x18, 6))    // block size
	f.Add(at(1024+0x20, 0))    // blocks per group
	f.Add(at(1024+0x60, 0xff)) // incompatible features
	f.Add(at(1024+0x64, 0xff)) // read-only features
	f.Add(at(4096+0x08, 0xff)) // first inode table
	f.Add(at(4096+0x12, 0xff)) // flags of the first group
	f.Add(at(1024+0xe0, 2))    // the journal is the root directory
	f.Add(at(5*4096+4, 0xff))  // a record length of the root directory
	f.Fuzz(func(t *testing.T, patches []byte) {
		im, err := Open(newPatched(base, patches), nil)
		if err != nil {
			return
		}
		dumpHostile(t, im, bounds{60, 40}, 20*time.Second)
	})
}

// patched is an image with bytes changed, without a copy of it.
type patched struct {
	device.Device
	changes map[int64]byte
}

func newPatched(base, patches []byte) *patched {
	p := &patched{device.NewMemory(base), map[int64]byte{}}
	for ; len(patches) >= patchSize; patches = patches[patchSize:] {
		off := (int64(patches[0])|int64(patches[1])<<8|int64(patches[2])<<16)*4 + int64(patches[3]&3)
		p.changes[off%int64(len(base))] = patches[4]
	}
	return p
}

func (p *patched) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.Device.ReadAt(b, off)
	for at, c := range p.changes {
		if at >= off && at < off+int64(n) {
			b[at-off] = c
		}
	}
	return n, err
}

// FuzzBlock shows blocks of any content.
func FuzzBlock(f *testing.F) {
	base := demo(f)
	im := openDemo(f)
	for _, n := range []int{0, 1, 2, 5, 36, 1626, 1627} {
		f.Add(base[n*4096 : (n+1)*4096])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		block := make([]byte, im.blockSize())
		copy(block, b)
		for _, use := range []string{"allocated", "free", "superblock", "group_descriptors", "inode_table", "mmp", "journal", "boot"} {
			v := &Block{Type: "block", Block: 36, Use: use}
			im.blockLooks(v, block, disk.BlockNum(v.Block))
			if v.Content != nil {
				textOf(t, v.Content)
				trouble(t, v.Content)
			}
		}
		var set XattrSet
		set.entries(im, block, disk.XattrHeaderSize)
		textOf(t, &set)
	})
}
