package device

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"unicode/utf16"
)

// Encoders for what the tests read. They are written from the formats'
// definitions, apart from the readers.

// putExt writes what makes a place look like an ext file system.
func putExt(b []byte) {
	sb := b[superOffset:]
	le.PutUint32(sb[0x00:], 128)  // inodes
	le.PutUint32(sb[0x04:], 1024) // blocks
	le.PutUint32(sb[0x18:], 2)
	le.PutUint32(sb[0x20:], 32768)
	le.PutUint32(sb[0x28:], 128)
	le.PutUint16(sb[0x38:], 0xef53)
	le.PutUint32(sb[0x4c:], 1)
}

// gptPart is a partition to write; sectors.
type gptPart struct {
	slot        int // from 1
	first, last uint64
	name        string
	id          byte
}

const testUUID = "04030201-0605-0807-090a-0b0c0d0e0f%02x"

// putGPT writes a protective MBR and both headers with their 128 entries.
func putGPT(b []byte, sector int, parts []gptPart) { putSmallGPT(b, sector, 128, parts) }

// putSmallGPT is putGPT with fewer entries than the standard allows.
func putSmallGPT(b []byte, sector, count int, parts []gptPart) {
	array := make([]byte, count*gptEntrySize)
	for _, p := range parts {
		e := array[(p.slot-1)*gptEntrySize:]
		copy(e, "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4")
		for i := range 16 {
			e[16+i] = byte(i + 1)
		}
		e[31] = p.id
		le.PutUint64(e[32:], p.first)
		le.PutUint64(e[40:], p.last)
		for i, c := range utf16.Encode([]rune(p.name)) {
			le.PutUint16(e[56+2*i:], c)
		}
	}
	last := uint64(len(b)/sector - 1)
	arraySectors := uint64((len(array) + sector - 1) / sector)
	header := func(lba, other, entries uint64) {
		h := b[lba*uint64(sector):][:sector]
		copy(h, "EFI PART")
		le.PutUint32(h[8:], 0x10000)
		le.PutUint32(h[12:], 92)
		le.PutUint32(h[16:], 0)
		le.PutUint64(h[24:], lba)
		le.PutUint64(h[32:], other)
		le.PutUint64(h[40:], 2+arraySectors)
		le.PutUint64(h[48:], last-arraySectors-1)
		le.PutUint64(h[72:], entries)
		le.PutUint32(h[80:], uint32(count))
		le.PutUint32(h[84:], gptEntrySize)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(array))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
		copy(b[entries*uint64(sector):], array)
	}
	header(1, last, 2)
	header(last, 1, last-arraySectors)
	putMBR(b, 0, 0, mbrEntry{kind: 0xee, first: 1, sectors: uint32(last)})
}

// sealGPT corrects the checksums of the header at a sector and of its entries,
// as far as they lie inside.
func sealGPT(b []byte, sector, lba int) {
	if lba < 1 || (lba+1)*sector > len(b) {
		return
	}
	h := b[lba*sector:][:sector]
	off, n := le.Uint64(h[72:]), uint64(le.Uint32(h[80:]))*uint64(le.Uint32(h[84:]))
	if off < uint64(len(b)) && off*uint64(sector) < uint64(len(b)) && n <= uint64(len(b))-off*uint64(sector) {
		le.PutUint32(h[88:], crc32.ChecksumIEEE(b[off*uint64(sector):][:n]))
	}
	if size := le.Uint32(h[12:]); size >= 20 && size <= uint32(sector) {
		le.PutUint32(h[16:], 0)
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:size]))
	}
}

// putMBR writes a table at a byte offset.
func putMBR(b []byte, off int64, signature uint32, entries ...mbrEntry) {
	s := b[off:]
	le.PutUint32(s[440:], signature)
	clear(s[446:510])
	for i, e := range entries {
		p := s[446+16*i:]
		p[0], p[4] = e.status, e.kind
		le.PutUint32(p[8:], e.first)
		le.PutUint32(p[12:], e.sectors)
	}
	s[510], s[511] = 0x55, 0xaa
}

// sparseChunk is a chunk to write.
type sparseChunk struct {
	kind   uint16
	blocks uint32
	data   []byte
}

// makeSparse writes an Android sparse image.
func makeSparse(blockSize uint32, chunks ...sparseChunk) []byte {
	total := uint32(0)
	for _, c := range chunks {
		total += c.blocks
	}
	b := make([]byte, 28)
	le.PutUint32(b[0:], androidMagic)
	le.PutUint16(b[4:], 1)
	le.PutUint16(b[8:], 28)
	le.PutUint16(b[10:], 12)
	le.PutUint32(b[12:], blockSize)
	le.PutUint32(b[16:], total)
	le.PutUint32(b[20:], uint32(len(chunks)))
	for _, c := range chunks {
		h := make([]byte, 12)
		le.PutUint16(h[0:], c.kind)
		le.PutUint32(h[4:], c.blocks)
		le.PutUint32(h[8:], uint32(12+len(c.data)))
		b = append(append(b, h...), c.data...)
	}
	return b
}

// smallSparse is a sparse image with all types of chunks in few bytes.
func smallSparse() []byte {
	return makeSparse(64,
		sparseChunk{androidRaw, 1, noise(1, 64)},
		sparseChunk{androidSkip, 5, nil},
		sparseChunk{androidFill, 2, []byte("ABCD")},
		sparseChunk{androidCRC, 0, []byte{1, 2, 3, 4}},
		sparseChunk{androidRaw, 2, noise(2, 128)},
		sparseChunk{androidFill, 1, []byte("wxyz")},
	)
}

// testSparse is a sparse image with all types of chunks, and its expansion.
func testSparse() (sparse, expanded []byte) {
	raw1, raw2 := noise(1, 3*4096), noise(2, 2*4096)
	sparse = makeSparse(4096,
		sparseChunk{androidRaw, 3, raw1},
		sparseChunk{androidSkip, 5, nil},
		sparseChunk{androidFill, 2, []byte("ABCD")},
		sparseChunk{androidFill, 1, []byte("ABCD")},
		sparseChunk{androidFill, 4, make([]byte, 4)},
		sparseChunk{androidCRC, 0, []byte{1, 2, 3, 4}},
		sparseChunk{androidRaw, 0, nil},
		sparseChunk{androidRaw, 2, raw2},
		sparseChunk{androidFill, 1, []byte("wxyz")},
		sparseChunk{androidSkip, 1, nil},
	)
	expanded = bytes.Join([][]byte{
		raw1, make([]byte, 5*4096), []byte(strings.Repeat("ABCD", 3*1024)),
		make([]byte, 4*4096), raw2, []byte(strings.Repeat("wxyz", 1024)), make([]byte, 4096),
	}, nil)
	return sparse, expanded
}

// noise is n bytes that do not compress.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// testImage is a file system's beginning, holes of several sizes and content.
func testImage() []byte {
	b := make([]byte, 1<<20+4096+512)
	putExt(b)
	copy(b[8192:], noise(1, 100_000))
	copy(b[300_000:], noise(2, 5000))
	copy(b[1<<20-100:], noise(3, 300))
	b[len(b)-1] = 7
	return b
}
