package verity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// file is a verity file as it lies in its logical space, built level by level
// straight from the description of the format.
type file struct {
	desc    disk.VerityDescriptor
	size    int64
	bytes   []byte // up to the end of the last extent
	treeLen int64
}

func build(t testing.TB, content []byte, alg disk.VerityAlgorithm, logBlock uint8, salt []byte, blockSize int) *file {
	t.Helper()
	bs := 1 << logBlock
	sum := func(b []byte) []byte {
		padded := append([]byte(nil), b...)
		padded = append(padded, make([]byte, (bs-len(b)%bs)%bs)...)
		var in []byte
		if len(salt) > 0 {
			in = append(in, salt...)
			in = append(in, make([]byte, map[disk.VerityAlgorithm]int{1: 64, 2: 128}[alg]-len(salt))...)
		}
		in = append(in, padded...)
		if alg == disk.VeritySHA512 {
			h := sha512.Sum512(in)
			return h[:]
		}
		h := sha256.Sum256(in)
		return h[:]
	}
	hashAll := func(b []byte) (out []byte) {
		for len(b) > 0 {
			n := min(len(b), bs)
			out = append(out, sum(b[:n])...)
			b = b[n:]
		}
		return out
	}
	f := &file{size: int64(len(content)), desc: disk.VerityDescriptor{
		Algorithm: alg, LogBlockSize: logBlock, DataSize: uint64(len(content)), Salt: salt,
	}}
	var tree []byte
	switch {
	case len(content) == 0:
		f.desc.RootHash = make([]byte, alg.DigestSize())
	default:
		hashes := hashAll(content)
		for len(hashes) > alg.DigestSize() {
			level := append([]byte(nil), hashes...)
			level = append(level, make([]byte, (bs-len(level)%bs)%bs)...)
			tree = append(level, tree...)
			hashes = hashAll(level)
		}
		f.desc.RootHash = hashes
	}
	f.treeLen = int64(len(tree))
	b := append([]byte(nil), content...)
	b = append(b, make([]byte, roundUp(f.size, 65536)-f.size)...)
	b = append(b, tree...)
	b = append(b, make([]byte, (blockSize-len(b)%blockSize)%blockSize)...)
	d := make([]byte, disk.VeritySize+len(f.desc.Signature))
	f.desc.Encode(d)
	b = append(b, d...)
	b = append(b, make([]byte, 4)...)
	b = append(b, make([]byte, (blockSize-len(b)%blockSize)%blockSize)...)
	binary.LittleEndian.PutUint32(b[len(b)-4:], uint32(len(d)))
	f.bytes = b
	return f
}

func (f *file) verify(t testing.TB, blockSize int, o Options) *Report {
	t.Helper()
	r := bytes.NewReader(f.bytes)
	l, err := Locate(r, f.size, int64(len(f.bytes)), blockSize)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ReadDescriptor(r, f.size, l)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := Verify(context.Background(), r, l, d, o)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestVerify_good(t *testing.T) {
	for _, alg := range []disk.VerityAlgorithm{disk.VeritySHA256, disk.VeritySHA512} {
		for _, log := range []uint8{10, 12, 16} {
			for _, size := range []int{0, 1, 1 << log, 1<<log + 1, 32 << log, 32<<log + 1, 1_000_001} {
				for _, salt := range []string{"", "salt", strings.Repeat("s", 32)} {
					f := build(t, noise(size), alg, log, []byte(salt), 4096)
					rep := f.verify(t, 4096, Options{})
					want := (int64(size)+1<<log-1)>>log + f.treeLen>>log
					if !rep.OK() || rep.Blocks != want || len(rep.Failures) != 0 {
						t.Errorf("%v, blocks 2^%d, size %d, salt %q: %+v, want %d blocks", alg, log, size, salt, rep, want)
					}
				}
			}
		}
	}
}

// The digest of an empty file with default parameters is well known.
func TestDigest_empty(t *testing.T) {
	f := build(t, nil, disk.VeritySHA256, 12, nil, 4096)
	const want = "sha256:3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"
	if got := f.verify(t, 4096, Options{}).Digest; got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	// A signature is no part of it.
	f.desc.Signature = []byte("signature")
	if got := Digest(&f.desc); got != want {
		t.Errorf("digest with signature %s, want %s", got, want)
	}
}

// What fsverity 1.5, the other implementation, makes of the same content:
// "fsverity digest --compact --hash-alg --block-size --salt
// --out-merkle-tree", the digest's first half and the first bytes of the
// tree's SHA-256.
func TestVerify_vectors(t *testing.T) {
	for _, v := range []struct {
		size           int
		alg            disk.VerityAlgorithm
		log            uint8
		salt           string
		digest, merkle string
	}{
		{0, 1, 12, "", "3d248ca542a24fc62d1c43b916eae501", "e3b0c44298fc1c14"},
		{0, 1, 10, "abcd", "d1a6507934cde7f56d0d77ebdfc6b492", "e3b0c44298fc1c14"},
		{0, 2, 12, "0123456789abcdef", "ed72ac9bfd9b742269affd9a4a813875", "e3b0c44298fc1c14"},
		{0, 2, 16, "", "7c284b11a1224ca91b4be11979caf78e", "e3b0c44298fc1c14"},
		{0, 1, 12, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "0e747df7926536f3f3fe5e1d95c2a989", "e3b0c44298fc1c14"},
		{1, 1, 12, "", "b66f7001e94310b70d3f6272bd8e5266", "e3b0c44298fc1c14"},
		{1, 1, 10, "abcd", "56c0c82358c119a9ceb19a8f86a622f6", "e3b0c44298fc1c14"},
		{1, 2, 12, "0123456789abcdef", "8542229037662824fd31b746802a7f11", "e3b0c44298fc1c14"},
		{1, 2, 16, "", "581bdd685752529f24f6cea82ff9bc07", "e3b0c44298fc1c14"},
		{1, 1, 12, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "b41eb56b206819c3cd00f2210bbc8152", "e3b0c44298fc1c14"},
		{4096, 1, 12, "", "3372124375758983b428c86c2007b5c2", "e3b0c44298fc1c14"},
		{4096, 1, 10, "abcd", "bf768e659fcc14f861f62864e36d5be1", "1b5191846a73924d"},
		{4096, 2, 12, "0123456789abcdef", "09e0b28eda52fa98711a877357dbd48f", "e3b0c44298fc1c14"},
		{4096, 2, 16, "", "c0b4f49ebc448f889e65e086f153dd1f", "e3b0c44298fc1c14"},
		{4096, 1, 12, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "4611d32f268e9559b002b6de8d4462b9", "e3b0c44298fc1c14"},
		{4097, 1, 12, "", "5031a29b9cd5e9456e004955d80a8ef3", "d93f33fb1e833508"},
		{4097, 1, 10, "abcd", "45d47ecfd3fa15fb843739f3c51091c4", "d6b832abec30bb37"},
		{4097, 2, 12, "0123456789abcdef", "a8f91a57de091cc369209ae5f99b472a", "7e2cc902991babee"},
		{4097, 2, 16, "", "ecc157ab29cae6bc19430a97e7a9ca78", "e3b0c44298fc1c14"},
		{4097, 1, 12, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "ac6cb8e521b92b1cdcb1b1744cd8ed11", "341575279a9df784"},
		{131072, 1, 12, "", "43d98b0a1fb66585d91ff3da2c5fb903", "bfbbb4b7b080b393"},
		{131072, 1, 10, "abcd", "d26f6abc8b209af633d2666507033bec", "e5c9cb3c92d34fef"},
		{131072, 2, 12, "0123456789abcdef", "0e32f33812367d0068ce51f3a0c3e944", "b395d4d51128f593"},
		{131072, 2, 16, "", "4c79fc8c8d9f4d1a4f7b24c74ab5013c", "0aee5abf3c8b3a5d"},
		{131072, 1, 12, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "47a74e65f1e3ddc23ff6634e646b7c28", "0fbb579fbb9427bf"},
		{131073, 1, 12, "", "d0a7e548c02780279540cf50d804b15b", "52d9b1a848886d9a"},
		{131073, 1, 10, "abcd", "4116bf14299dfca6937b410ba9619904", "93242ef1e7900fe4"},
		{131073, 2, 12, "0123456789abcdef", "88ef0628f3d2eb561f28726c5776df06", "e5370f93cf237000"},
		{131073, 2, 16, "", "bc0ecb5f7b463c2482ca0e9cb19e34c2", "ba90d13dc1b1ca0b"},
		{131073, 1, 12, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "24e7ee70a04c47cb5c92ed07b871705a", "cd2ad137749a055d"},
		{3000000, 1, 12, "", "75cb7a45ee94d962f9803b5cfd9df3ae", "da00ce8ca4a6ec2f"},
		{3000000, 1, 10, "abcd", "2b54b337a21d406fae94553f7cc0e623", "720392fe8dcf3d69"},
		{3000000, 2, 12, "0123456789abcdef", "caa270ac4d3a964b1c0ea7e7a2558e0b", "468be46d572ad601"},
		{3000000, 2, 16, "", "e7a6e42a1775d09f4a1ee53cfb9841c0", "84ff48ec313ee550"},
		{3000000, 1, 12, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "a5dc97be1b490b4f71eddcadeccb0135", "cc27ff50eded02b2"},
	} {
		f := build(t, noise(v.size), v.alg, v.log, []byte(v.salt), 4096)
		rep := f.verify(t, 4096, Options{})
		if want := v.alg.String() + ":" + v.digest; !rep.OK() || !strings.HasPrefix(rep.Digest, want) {
			t.Errorf("size %d, %v, blocks 2^%d, salt %q: digest %s, want %s; %d failures",
				v.size, v.alg, v.log, v.salt, rep.Digest, want, rep.Failed)
		}
		tree := f.bytes[roundUp(f.size, 65536):][:f.treeLen]
		if sum := fmt.Sprintf("%x", sha256.Sum256(tree)); !strings.HasPrefix(sum, v.merkle) {
			t.Errorf("size %d, %v, blocks 2^%d, salt %q: tree %s, want %s", v.size, v.alg, v.log, v.salt, sum, v.merkle)
		}
	}
}

func TestVerify_damage(t *testing.T) {
	const size = 2_000_000 // 489 blocks, 4 leaf blocks of hashes, a root
	tree := roundUp(size, 65536)
	for _, tt := range []struct {
		name      string
		at        int64
		want      []Failure
		contentOK bool
	}{
		{"content", 123_456, []Failure{{-1, 122_880}}, false},
		{"last content", size - 1, []Failure{{-1, size / 4096 * 4096}}, false},
		{"behind the content", size, nil, true}, // zeros whatever is there
		{"root block", tree + 5, []Failure{{0, tree + 4096}, {1, tree}}, true},
		{"unused part of root block", tree + 4095, []Failure{{1, tree}}, true},
		{"leaf block", tree + 2*4096, []Failure{{0, tree + 2*4096}, {-1, 128 * 4096}}, true},
		{"unused part of leaf block", tree + 5*4096 - 1, []Failure{{0, tree + 4*4096}}, true},
	} {
		f := build(t, noise(size), disk.VeritySHA256, 12, nil, 4096)
		f.bytes[tt.at] ^= 1
		rep := f.verify(t, 4096, Options{})
		if rep.Failed != int64(len(tt.want)) || rep.ContentOK() != tt.contentOK || rep.OK() != (len(tt.want) == 0) {
			t.Errorf("%s: %+v", tt.name, rep)
		}
		for _, w := range tt.want {
			if !slices.Contains(rep.Failures, w) {
				t.Errorf("%s: %v is not among %v", tt.name, w, rep.Failures)
			}
		}
	}
	// Many failures: counted, but not all kept.
	f := build(t, noise(size), disk.VeritySHA256, 12, nil, 4096)
	for at := 0; at < size; at += 4096 {
		f.bytes[at] ^= 1
	}
	if rep := f.verify(t, 4096, Options{MaxFailures: 7}); rep.Failed != 489 || len(rep.Failures) != 7 {
		t.Errorf("%d failures, %d kept", rep.Failed, len(rep.Failures))
	}
	// An empty file with a root hash that is not zero.
	f = build(t, nil, disk.VeritySHA256, 12, nil, 4096)
	f.bytes[0x10] = 1
	if rep := f.verify(t, 4096, Options{}); rep.OK() || rep.Failed != 1 {
		t.Errorf("empty file: %+v", rep)
	}
}

func TestVerify_holes(t *testing.T) {
	content := make([]byte, 5_000_000)
	copy(content[3_000_000:], "something")
	f := build(t, content, disk.VeritySHA512, 12, []byte("x"), 1024)
	if rep := f.verify(t, 1024, Options{}); !rep.OK() {
		t.Errorf("%+v", rep)
	}
}

func TestLocate_refuses(t *testing.T) {
	good := build(t, noise(200_000), disk.VeritySHA256, 12, nil, 4096)
	end := int64(len(good.bytes))
	setSize := func(n uint32) func(*file) {
		return func(f *file) { binary.LittleEndian.PutUint32(f.bytes[end-4:], n) }
	}
	for _, tt := range []struct {
		name       string
		size, end  int64
		block      int
		change     func(f *file)
		descriptor bool // it is ReadDescriptor that refuses
	}{
		{name: "size zero", change: setSize(0)},
		{name: "size small", change: setSize(255)},
		{name: "size large", change: setSize(disk.MaxVeritySize + 1)},
		{name: "size huge", change: setSize(1<<32 - 1)},
		{name: "size reaches into content", change: setSize(disk.MaxVeritySize)},
		{name: "no metadata", end: 262144},
		{name: "nothing", end: 0, size: -1},
		{name: "end not on a block", end: end - 1},
		{name: "huge file", size: 1<<63 - 1},
		{name: "small blocks", block: 512},
		{name: "other size", size: 200_001, descriptor: true},
		{name: "version", change: func(f *file) { f.bytes[end-4096] = 9 }, descriptor: true},
		{name: "blocks too small for the room", change: func(f *file) { f.bytes[end-4096+2] = 10 }, descriptor: true},
	} {
		f := build(t, noise(200_000), disk.VeritySHA256, 12, nil, 4096)
		size, e, bs := f.size, end, 4096
		if tt.size != 0 {
			size = tt.size
		}
		if tt.end != 0 {
			e = tt.end
		}
		if tt.block != 0 {
			bs = tt.block
		}
		if tt.change != nil {
			tt.change(f)
		}
		r := bytes.NewReader(f.bytes)
		l, err := Locate(r, size, e, bs)
		if err == nil && tt.descriptor {
			_, err = ReadDescriptor(r, size, l)
		}
		if !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("%s: %+v, %v", tt.name, l, err)
		}
	}
	// Reads that fail are no corruption.
	if _, err := Locate(bytes.NewReader(nil), 0, 8192, 4096); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short file: %v", err)
	}
	if _, err := ReadDescriptor(bytes.NewReader(nil), 0, Layout{DescriptorSize: 256}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short file: %v", err)
	}
}

func TestLocate_signature(t *testing.T) {
	f := build(t, noise(10), disk.VeritySHA256, 12, nil, 1024)
	f.desc.Signature = bytes.Repeat([]byte("s"), 3000)
	f.bytes = f.bytes[:65536]
	d := make([]byte, disk.VeritySize+3000)
	f.desc.Encode(d)
	f.bytes = append(f.bytes, d...)
	f.bytes = append(f.bytes, make([]byte, 4096-len(d))...)
	binary.LittleEndian.PutUint32(f.bytes[len(f.bytes)-4:], uint32(len(d)))
	if rep := f.verify(t, 1024, Options{}); !rep.OK() {
		t.Errorf("%+v", rep)
	}
}

type brokenReader struct {
	io.ReaderAt
	from, to int64
}

var errBroken = errors.New("broken")

func (r brokenReader) ReadAt(p []byte, off int64) (int, error) {
	if off < r.to && off+int64(len(p)) > r.from {
		return 0, errBroken
	}
	return r.ReaderAt.ReadAt(p, off)
}

func TestVerify_errors(t *testing.T) {
	f := build(t, noise(20<<20), disk.VeritySHA256, 12, nil, 4096)
	whole := bytes.NewReader(f.bytes)
	l, err := Locate(whole, f.size, int64(len(f.bytes)), 4096)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := Verify(ctx, brokenReader{whole, 15 << 20, 15<<20 + 1}, l, &f.desc, Options{}); !errors.Is(err, errBroken) {
		t.Errorf("content: %v", err)
	}
	if _, err := Verify(ctx, brokenReader{whole, l.Tree, l.Tree + 1}, l, &f.desc, Options{}); !errors.Is(err, errBroken) {
		t.Errorf("tree: %v", err)
	}
	if _, err := Verify(ctx, bytes.NewReader(f.bytes[:1000]), l, &f.desc, Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short: %v", err)
	}
	l.Descriptor = l.Tree + 4096
	if _, err := Verify(ctx, whole, l, &f.desc, Options{}); !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("no room: %v", err)
	}
}

func TestVerify_cancel(t *testing.T) {
	f := build(t, noise(20<<20), disk.VeritySHA256, 12, nil, 4096)
	r := bytes.NewReader(f.bytes)
	l, err := Locate(r, f.size, int64(len(f.bytes)), 4096)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	_, err = Verify(ctx, r, l, &f.desc, Options{Progress: func(done, total int64) {
		calls++
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || calls > 8 {
		t.Errorf("after %d calls: %v", calls, err)
	}
	done := int64(0)
	_, err = Verify(context.Background(), r, l, &f.desc, Options{Workers: 3, Progress: func(n, total int64) {
		if n <= done || total != f.size {
			t.Errorf("progress %d of %d after %d", n, total, done)
		}
		done = n
	}})
	if err != nil || done != f.size {
		t.Errorf("done %d, %v", done, err)
	}
}

func FuzzVerity(f *testing.F) {
	for _, size := range []int{0, 10, 70_000} {
		b := build(f, noise(size), disk.VeritySHA256, 10, nil, 1024)
		f.Add(b.bytes, int64(size), 10)
	}
	f.Fuzz(func(t *testing.T, b []byte, size int64, log int) {
		r := bytes.NewReader(b)
		l, err := Locate(r, size, int64(len(b)), 1<<(uint(log)%20))
		if err != nil {
			return
		}
		d, err := ReadDescriptor(r, size, l)
		if err != nil {
			return
		}
		if _, err := Verify(context.Background(), r, l, d, Options{Workers: 1}); err != nil {
			t.Errorf("%v", err) // all of it is there
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	f := build(b, noise(64<<20), disk.VeritySHA256, 12, nil, 4096)
	b.SetBytes(f.size)
	for b.Loop() {
		if rep := f.verify(b, 4096, Options{}); !rep.OK() {
			b.Fatal("not good")
		}
	}
}
