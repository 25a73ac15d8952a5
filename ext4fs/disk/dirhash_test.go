package disk

import (
	"strings"
	"testing"
)

// hashVectors are what dx_hash of debugfs 1.47.0 prints: without a seed for
// hash versions 0 to 5, and with the seed below for 1, 2, 4 and 5.
var hashVectors = []struct {
	name   string
	plain  [6][2]uint32
	seeded [4][2]uint32
}{
	{"a", [6][2]uint32{{0xe74b53e2, 0x00000000}, {0xd5fa7d7a, 0xacb48187}, {0x6d0ea4c0, 0xc18922df}, {0xe74b53e2, 0x00000000}, {0xd5fa7d7a, 0xacb48187}, {0x6d0ea4c0, 0xc18922df}}, [4][2]uint32{{0x82170af6, 0xabf663dc}, {0xbdaa08e6, 0x18853334}, {0x82170af6, 0xabf663dc}, {0xbdaa08e6, 0x18853334}}},
	{"ab", [6][2]uint32{{0xda0d8cd0, 0x00000000}, {0xee5ef564, 0x4bcbe18e}, {0xd27d8658, 0xb8458267}, {0xda0d8cd0, 0x00000000}, {0xee5ef564, 0x4bcbe18e}, {0xd27d8658, 0xb8458267}}, [4][2]uint32{{0x47eecfa2, 0xbd0f226d}, {0x5a4b2a72, 0x4fc67808}, {0x47eecfa2, 0xbd0f226d}, {0x5a4b2a72, 0x4fc67808}}},
	{"abc", [6][2]uint32{{0x75afd992, 0x00000000}, {0xd196a868, 0xc420eb28}, {0xb1435ec4, 0x3f7eaa0e}, {0x75afd992, 0x00000000}, {0xd196a868, 0xc420eb28}, {0xb1435ec4, 0x3f7eaa0e}}, [4][2]uint32{{0x38225da6, 0x4379e832}, {0xeb5d97d0, 0xe0290b5a}, {0x38225da6, 0x4379e832}, {0xeb5d97d0, 0xe0290b5a}}},
	{"abcd", [6][2]uint32{{0xfafa23ca, 0x00000000}, {0xad7557a8, 0xb1da437c}, {0x5a24112e, 0x95442076}, {0xfafa23ca, 0x00000000}, {0xad7557a8, 0xb1da437c}, {0x5a24112e, 0x95442076}}, [4][2]uint32{{0xea025f34, 0x8aa1a518}, {0x6a897a92, 0xf9b6afdf}, {0xea025f34, 0x8aa1a518}, {0x6a897a92, 0xf9b6afdf}}},
	{"hello", [6][2]uint32{{0x32252546, 0x00000000}, {0x1746da32, 0x420013b5}, {0x6f5bb1a8, 0x231917c2}, {0x32252546, 0x00000000}, {0x1746da32, 0x420013b5}, {0x6f5bb1a8, 0x231917c2}}, [4][2]uint32{{0x6a6d483e, 0x029b44a0}, {0x77cfe3d8, 0x94e58ad8}, {0x6a6d483e, 0x029b44a0}, {0x77cfe3d8, 0x94e58ad8}}},
	{"lost+found", [6][2]uint32{{0x5e2aba24, 0x00000000}, {0x591de422, 0x6ffc56e0}, {0x2dbf9e80, 0xbfebee4f}, {0x5e2aba24, 0x00000000}, {0x591de422, 0x6ffc56e0}, {0x2dbf9e80, 0xbfebee4f}}, [4][2]uint32{{0x9bbddc66, 0x1b23ddc5}, {0xfd5c8dd8, 0xf939a0bd}, {0x9bbddc66, 0x1b23ddc5}, {0xfd5c8dd8, 0xf939a0bd}}},
	{"Makefile", [6][2]uint32{{0x04aaef06, 0x00000000}, {0x2f6e3df4, 0x616b475f}, {0x223ceef4, 0x51ca4b96}, {0x04aaef06, 0x00000000}, {0x2f6e3df4, 0x616b475f}, {0x223ceef4, 0x51ca4b96}}, [4][2]uint32{{0x10f408e4, 0x03c672eb}, {0x9200b2c8, 0xd518c2c0}, {0x10f408e4, 0x03c672eb}, {0x9200b2c8, 0xd518c2c0}}},
	{"0123456789abcdef", [6][2]uint32{{0x415c16fe, 0x00000000}, {0x8cb502b6, 0x5acf4f33}, {0x5a0788b2, 0xefa4e711}, {0x415c16fe, 0x00000000}, {0x8cb502b6, 0x5acf4f33}, {0x5a0788b2, 0xefa4e711}}, [4][2]uint32{{0x2a22d168, 0xc8d7b2a0}, {0x3dc6ce4c, 0x5ada2b6c}, {0x2a22d168, 0xc8d7b2a0}, {0x3dc6ce4c, 0x5ada2b6c}}},
	{"0123456789abcdefg", [6][2]uint32{{0xfa356a68, 0x00000000}, {0x3808cb0e, 0x9fb9d3a1}, {0xfb1a23ec, 0xb1ba9f3a}, {0xfa356a68, 0x00000000}, {0x3808cb0e, 0x9fb9d3a1}, {0xfb1a23ec, 0xb1ba9f3a}}, [4][2]uint32{{0x8213f8e8, 0xa0f72ee0}, {0x0050d200, 0x93eb391c}, {0x8213f8e8, 0xa0f72ee0}, {0x0050d200, 0x93eb391c}}},
	{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", [6][2]uint32{{0xa365191c, 0x00000000}, {0x415798c2, 0xe25911d8}, {0x85384aa4, 0x3bd016f2}, {0xa365191c, 0x00000000}, {0x415798c2, 0xe25911d8}, {0x85384aa4, 0x3bd016f2}}, [4][2]uint32{{0x6ca296de, 0x577da13b}, {0x6b36f7e6, 0xc8335dc9}, {0x6ca296de, 0x577da13b}, {0x6b36f7e6, 0xc8335dc9}}},
	{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", [6][2]uint32{{0xccf8e87c, 0x00000000}, {0xae38ae70, 0x439dc1ad}, {0x4235b328, 0xaa22efb7}, {0xccf8e87c, 0x00000000}, {0xae38ae70, 0x439dc1ad}, {0x4235b328, 0xaa22efb7}}, [4][2]uint32{{0x03d88cb0, 0xc65b1a56}, {0xee05873c, 0xfddd29e9}, {0x03d88cb0, 0xc65b1a56}, {0xee05873c, 0xfddd29e9}}},
	{"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", [6][2]uint32{{0x477fb8ce, 0x00000000}, {0xcf79e5d6, 0x2a5f92c9}, {0x62024d76, 0xaecef662}, {0x477fb8ce, 0x00000000}, {0xcf79e5d6, 0x2a5f92c9}, {0x62024d76, 0xaecef662}}, [4][2]uint32{{0x41eee5fc, 0x88787ef6}, {0x4bc81eac, 0xc4dcf7a2}, {0x41eee5fc, 0x88787ef6}, {0x4bc81eac, 0xc4dcf7a2}}},
	{"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", [6][2]uint32{{0xf94f0890, 0x00000000}, {0x3b4d55ea, 0xa08c3c2e}, {0x22547932, 0xf01206ff}, {0xf94f0890, 0x00000000}, {0x3b4d55ea, 0xa08c3c2e}, {0x22547932, 0xf01206ff}}, [4][2]uint32{{0xc4386f98, 0x45412543}, {0x7135e968, 0x0faa31ee}, {0xc4386f98, 0x45412543}, {0x7135e968, 0x0faa31ee}}},
	{"\xc3\x9cn\xc3\xafc\xc3\xb6d\xc3\xa9", [6][2]uint32{{0xeee55008, 0x00000000}, {0x8a63ea04, 0x44e99314}, {0x8912a434, 0x0e3581f7}, {0xe47ff630, 0x00000000}, {0x9efe844e, 0x3bd12f60}, {0x1afdaeb6, 0xe22fa4d1}}, [4][2]uint32{{0x4b9caf34, 0x92dbdd31}, {0xd098febc, 0x9fda893a}, {0x1fcf45dc, 0x57001ab1}, {0x4703e36c, 0x1769cd73}}},
	{"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xae\xe3\x83\x95\xe3\x82\xa1\xe3\x82\xa4\xe3\x83\xab\xe5\x90\x8d.txt", [6][2]uint32{{0xac85d92e, 0x00000000}, {0x498cd79e, 0x560289f3}, {0x902b0c26, 0xe6fa38bf}, {0xe4053258, 0x00000000}, {0x1b34948a, 0xd4273000}, {0x5fa5f4f4, 0xc6000116}}, [4][2]uint32{{0x1c75e3aa, 0x298f061a}, {0x2c1466fa, 0xdbcde509}, {0xc4f2c95c, 0x8aca8b30}, {0x78c4c8e6, 0x20b46563}}},
	{"\x80", [6][2]uint32{{0x26f2c94c, 0x00000000}, {0xae8e789e, 0xf88feddf}, {0x4c9e4a68, 0xd1de8ff7}, {0xb7bcdb4c, 0x00000000}, {0x6f46e5d6, 0x8298a36e}, {0x56476c30, 0x931808a5}}, [4][2]uint32{{0xb2db6f9e, 0xf2686645}, {0x4fe995d6, 0x93c293c3}, {0xa8b3ca44, 0x558d3777}, {0xc3a7252a, 0x5686b1a1}}},
	{"\xff\xfe\xfd\xfc", [6][2]uint32{{0x73ce1ea2, 0x00000000}, {0xf64b0e2e, 0xd1a15f67}, {0x858cb23a, 0xa334ddd4}, {0x860fb164, 0x00000000}, {0x81db5b40, 0xf07172c8}, {0x042e033a, 0x7b9fcc23}}, [4][2]uint32{{0xa09c9924, 0x4300fa8e}, {0x720675f4, 0xf9c1e276}, {0x66b0ba90, 0x7d98770a}, {0x84f675ea, 0x76a76fed}}},
	{"a\xffb\x80c\x7f", [6][2]uint32{{0xcfccbd30, 0x00000000}, {0x219b46ea, 0xb488bcba}, {0x17e6a9c0, 0xebd14bb7}, {0xa08c1c34, 0x00000000}, {0x3cea79ec, 0x963b5f57}, {0x9849421a, 0x183e0bf7}}, [4][2]uint32{{0xde362732, 0xe347a230}, {0xbd292748, 0x0bbdaf90}, {0x663379e6, 0x6cb75b7c}, {0x93df45fa, 0x2d6fc3b3}}},
	{"\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9", [6][2]uint32{{0x2ded3d80, 0x00000000}, {0xa41f64aa, 0x008df991}, {0xd812feea, 0x0c7ca197}, {0x7d12fb6e, 0x00000000}, {0x90c82892, 0x229c711a}, {0x939132fc, 0xfd1da72d}}, [4][2]uint32{{0x5848ce6c, 0x76b7b2a2}, {0x2e490c86, 0x05f5d2e0}, {0xe37468fe, 0xd1e7d39b}, {0x78176d2c, 0x36a36591}}},
	{"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xbb\xbc\xbd\xbe\xbf\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xcb\xcc\xcd\xce\xcf\xd0\xd1\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xdb\xdc\xdd\xde\xdf\xe0\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xeb\xec\xed\xee\xef\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff", [6][2]uint32{{0x2ff3f4b0, 0x00000000}, {0xeb1c4d4e, 0xa76c815b}, {0xa7c8320a, 0x64031a41}, {0xac3888d0, 0x00000000}, {0x434f6f3c, 0x69f607e3}, {0x1b3df220, 0x30f4ca85}}, [4][2]uint32{{0x1bde4f6c, 0x81ec2141}, {0x4dd62060, 0xfc0478cf}, {0x4438c0d6, 0xf9881219}, {0x1f7ae26c, 0xeefb7457}}},
}

// UUID 11223344-5566-7788-99aa-bbccddeeff00 as s_hash_seed.
var vectorSeed = [4]uint32{0x44332211, 0x88776655, 0xccbbaa99, 0x00ffeedd}

func TestDirHash(t *testing.T) {
	check := func(v HashVersion, seed [4]uint32, name string, want [2]uint32) {
		t.Helper()
		hash, minor, ok := DirHash(v, &seed, []byte(name))
		if !ok || hash != want[0] || minor != want[1] {
			t.Errorf("%v of %q, seed %x: got %08x %08x %v, want %08x", v, name, seed, hash, minor, ok, want)
		}
	}
	for _, tt := range hashVectors {
		for v, want := range tt.plain {
			check(HashVersion(v), [4]uint32{}, tt.name, want)
		}
		for i, v := range []HashVersion{HashHalfMD4, HashTEA, HashHalfMD4Unsigned, HashTEAUnsigned} {
			check(v, vectorSeed, tt.name, tt.seeded[i])
		}
	}
}

func TestDirHash_unknownVersion(t *testing.T) {
	var seed [4]uint32
	for _, v := range []HashVersion{HashSipHash, 7, 255} {
		if h, m, ok := DirHash(v, &seed, []byte("a")); ok || h != 0 || m != 0 {
			t.Errorf("%v: %x %x %v", v, h, m, ok)
		}
	}
}

func TestDirHash_avoidsTheEndMark(t *testing.T) {
	if got := clampHash(0xffffffff); got != 0xfffffffc {
		t.Errorf("got %#x", got)
	}
	if got := clampHash(0xfffffffd); got != 0xfffffffc {
		t.Errorf("got %#x", got)
	}
}

func TestHashVersion(t *testing.T) {
	for v := range HashVersion(3) {
		if u := v.Unsigned(); u.String() != v.String()+"_unsigned" || u.Unsigned() != u {
			t.Errorf("%v: unsigned is %v", v, u)
		}
	}
	if HashSipHash.Unsigned() != HashSipHash || HashVersion(9).String() != "hash 9" {
		t.Error("others change")
	}
}

// The vectors of the authors of SipHash: key 00 01 .. 0f, input 00 01 ..
func TestSipHash24(t *testing.T) {
	const k0, k1 = 0x0706050403020100, 0x0f0e0d0c0b0a0908
	var in []byte
	want := map[int]uint64{0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 15: 0xa129ca6149be45e5}
	for n := range 16 {
		if w, ok := want[n]; ok {
			if got := SipHash24(k0, k1, in); got != w {
				t.Errorf("%d bytes: got %#x, want %#x", n, got, w)
			}
		}
		in = append(in, byte(n))
	}
	if h, m := SipDirHash(k0, k1, in[:15]); h != 0xa129ca60 || m != 0x49be45e5 {
		t.Errorf("directory hash %x %x", h, m)
	}
}

func TestDirHash_allocates(t *testing.T) {
	name := []byte("a-typical-name.txt")
	if n := testing.AllocsPerRun(100, func() { DirHash(HashHalfMD4, &vectorSeed, name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDirHash(b *testing.B) {
	long := strings.Repeat("n", 200)
	for _, bb := range []struct {
		name string
		v    HashVersion
		in   string
	}{
		{"half_md4/18", HashHalfMD4, "a-typical-name.txt"},
		{"half_md4/200", HashHalfMD4, long},
		{"tea/18", HashTEA, "a-typical-name.txt"},
		{"legacy/18", HashLegacy, "a-typical-name.txt"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			in := []byte(bb.in)
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				DirHash(bb.v, &vectorSeed, in)
			}
		})
	}
}
