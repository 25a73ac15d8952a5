package disk

import "fmt"

// A verity file is followed, in its own logical space, by the tree of hashes
// over its content and by a descriptor:
//
//	0 .. i_size             content
//	roundup(i_size, 65536)  hash tree, root level first
//	next block              descriptor of 256 bytes, then its signature
//	                        zeros
//	last 4 bytes            le32 size of descriptor and signature
//
// and the descriptor is
//
//	0 version (1)  1 algorithm  2 log2 of the tree's block size  3 salt size
//	4 le32 signature size  8 le64 content size  10 root hash[64]
//	50 salt[32]  70 zero[144]
//
// Feature flag: verity. Kernel documentation:
// Documentation/filesystems/fsverity.rst.
//
// Not supported: checking signatures, which need keys that no image holds.
const (
	// VeritySize is the size of the descriptor without its signature.
	VeritySize = 256
	// VerityAlign is what the tree's start is aligned to, in bytes.
	VerityAlign = 65536
	// VerityTrailerSize is the size of the word at the end of the last block.
	VerityTrailerSize = 4
	// MaxVeritySize is the largest descriptor with its signature.
	MaxVeritySize = 16384
	// MaxVeritySalt is the longest salt.
	MaxVeritySalt = 32

	verityVersion = 1
)

// VerityAlgorithm is a hash function of fs-verity.
type VerityAlgorithm uint8

// Hash functions.
const (
	VeritySHA256 VerityAlgorithm = 1
	VeritySHA512 VerityAlgorithm = 2
)

// DigestSize is the length of a hash in bytes, 0 for an unknown function.
func (a VerityAlgorithm) DigestSize() int {
	switch a {
	case VeritySHA256:
		return 32
	case VeritySHA512:
		return 64
	}
	return 0
}

// HashBlock is the length of the blocks the function works on; a salt is
// padded to it. 0 for an unknown function.
func (a VerityAlgorithm) HashBlock() int { return 2 * a.DigestSize() }

// String is the name that fs-verity's tools use.
func (a VerityAlgorithm) String() string {
	switch a {
	case VeritySHA256:
		return "sha256"
	case VeritySHA512:
		return "sha512"
	}
	return fmt.Sprintf("hash %d", uint8(a))
}

// VerityDescriptor says how a file's content was hashed. The signature, if
// there is one, is kept and not judged.
type VerityDescriptor struct {
	Algorithm    VerityAlgorithm
	LogBlockSize uint8  // of the tree's blocks, which also cut the content
	DataSize     uint64 // equals the file's size
	RootHash     []byte // DigestSize bytes
	Salt         []byte // up to MaxVeritySalt bytes
	Signature    []byte
}

// BlockSize is the size of the tree's blocks in bytes.
func (d *VerityDescriptor) BlockSize() int { return 1 << d.LogBlockSize }

// Decode reads a descriptor and its signature from b, whose length is the
// stored size of both. Everything is copied. Trouble is a *CorruptError
// without block and inode.
func (d *VerityDescriptor) Decode(b []byte) error {
	if len(b) < VeritySize || len(b) > MaxVeritySize {
		return verityError(0, "%d bytes", len(b))
	}
	v := VerityDescriptor{
		Algorithm:    VerityAlgorithm(b[1]),
		LogBlockSize: b[2],
		DataSize:     le.Uint64(b[8:]),
	}
	salt, sig := int(b[3]), le.Uint32(b[4:])
	switch {
	case b[0] != verityVersion:
		return verityError(0, "version %d is not %d", b[0], verityVersion)
	case v.Algorithm.DigestSize() == 0:
		return verityError(1, "unknown hash function %d", b[1])
	case v.LogBlockSize < 10 || v.LogBlockSize > 16:
		return verityError(2, "blocks of 2^%d bytes", v.LogBlockSize)
	case salt > MaxVeritySalt:
		return verityError(3, "salt of %d bytes", salt)
	case uint64(sig) > uint64(len(b)-VeritySize):
		return verityError(4, "signature of %d bytes where %d are left", sig, len(b)-VeritySize)
	}
	for i, c := range b[0x70:VeritySize] {
		if c != 0 {
			return verityError(0x70+i, "reserved byte is 0x%02x", c)
		}
	}
	v.RootHash = append([]byte(nil), b[0x10:0x10+v.Algorithm.DigestSize()]...)
	v.Salt = append([]byte(nil), b[0x50:0x50+salt]...)
	if sig > 0 {
		v.Signature = append([]byte(nil), b[VeritySize:VeritySize+int(sig)]...)
	}
	*d = v
	return nil
}

// Encode writes the descriptor and its signature into b, which must have room
// for VeritySize bytes and the signature. Unused places become zero.
func (d *VerityDescriptor) Encode(b []byte) {
	d.encode(b)
	le.PutUint32(b[4:], uint32(len(d.Signature)))
	copy(b[VeritySize:], d.Signature)
}

// Hashed is the form of the descriptor that the file's digest is taken of:
// without the signature and its size.
func (d *VerityDescriptor) Hashed() []byte {
	b := make([]byte, VeritySize)
	d.encode(b)
	return b
}

func (d *VerityDescriptor) encode(b []byte) {
	clear(b[:VeritySize])
	b[0], b[1], b[2], b[3] = verityVersion, byte(d.Algorithm), d.LogBlockSize, byte(len(d.Salt))
	le.PutUint64(b[8:], d.DataSize)
	copy(b[0x10:0x50], d.RootHash)
	copy(b[0x50:0x70], d.Salt)
}

func verityError(at int, format string, args ...any) error {
	return &CorruptError{What: "verity descriptor", Offset: at, Detail: fmt.Sprintf(format, args...)}
}
