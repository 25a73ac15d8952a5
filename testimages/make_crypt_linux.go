package testimages

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// encrypted makes folders under several policies. Truth is taken without the
// keys: ciphertext names and links in the kernel's presentation.
func encrypted(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	return b.mount(func(dir string) error {
		if err := os.WriteFile(dir+"/plain", []byte("not encrypted"), 0o644); err != nil {
			return err
		}
		key, err := addKey(dir, unix.FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER)
		if err != nil {
			return err
		}
		for pad := range uint8(4) {
			p := unix.FscryptPolicyV2{Version: unix.FSCRYPT_POLICY_V2, Contents_encryption_mode: unix.FSCRYPT_MODE_AES_256_XTS,
				Filenames_encryption_mode: unix.FSCRYPT_MODE_AES_256_CTS, Flags: pad}
			copy(p.Master_key_identifier[:], key[:16])
			if err := encryptedFolder(fmt.Sprintf("%s/pad%d", dir, 4<<pad), unsafe.Pointer(&p)); err != nil {
				return err
			}
		}
		if key, err = addKey(dir, unix.FSCRYPT_KEY_SPEC_TYPE_DESCRIPTOR); err != nil {
			return err
		}
		p := unix.FscryptPolicyV1{Version: unix.FSCRYPT_POLICY_V1, Contents_encryption_mode: unix.FSCRYPT_MODE_AES_256_XTS,
			Filenames_encryption_mode: unix.FSCRYPT_MODE_AES_256_CTS, Flags: unix.FSCRYPT_POLICY_FLAGS_PAD_32}
		copy(p.Master_key_descriptor[:], key[:8])
		return encryptedFolder(dir+"/version1", unsafe.Pointer(&p))
	})
}

// addKey gives the mounted file system a key and returns its identifier or
// descriptor.
func addKey(dir string, kind uint32) ([32]byte, error) {
	var arg struct {
		unix.FscryptAddKeyArg
		raw [64]byte
	}
	arg.Key_spec.Type = kind
	if kind == unix.FSCRYPT_KEY_SPEC_TYPE_DESCRIPTOR {
		copy(arg.Key_spec.U[:], "e4kit-v1")
	}
	arg.Raw_size = uint32(copy(arg.raw[:], Content(99, 64)))
	f, err := os.Open(dir)
	if err != nil {
		return arg.Key_spec.U, err
	}
	defer f.Close()
	err = ioctl(f, unix.FS_IOC_ADD_ENCRYPTION_KEY, unsafe.Pointer(&arg))
	return arg.Key_spec.U, err
}

// encryptedFolder makes a folder, sets its policy and fills it.
func encryptedFolder(dir string, policy unsafe.Pointer) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = ioctl(d, unix.FS_IOC_SET_ENCRYPTION_POLICY, policy)
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	f := &filler{top: dir, o: Fill{}.withDefaults()}
	f.mkdir("sub/deeper")
	for _, n := range []int{1, 15, 16, 17, 31, 32, 33, 100, 144, 145, 149, 150, 200, 240, 255} {
		f.file("sub/"+strings.Repeat("n", n), int64(n)*100)
	}
	for _, n := range []int{1, 16, 30, 57, 58, 100, 900} {
		f.symlink(strings.Repeat("t", n), fmt.Sprintf("sub/link%d", n))
	}
	f.file("sub/deeper/empty", 0)
	f.pieces("sub/deeper/hole", 50_000, []int64{20_000}, 5000)
	f.link("sub/deeper/hole", "sub/hard")
	f.setXattr("sub/deeper/hole", "user.a", []byte("attributes stay plain"))
	f.mkdir("many")
	for i := range 250 {
		f.file(fmt.Sprintf("many/%d%s", i, strings.Repeat("x", i%60)), 1)
	}
	if f.err == nil {
		f.fail("fifo", unix.Mkfifo(f.path("sub/fifo"), 0o600))
	}
	return f.err
}

// casefolded makes folders that ignore case. The kernel here has no Unicode
// tables, so mke2fs fills the image, debugfs sets the flags, and e2fsck
// indexes the larger folders.
func casefolded(b *builder) error {
	dirs := []string{"folded", "folded/inner", "large"}
	err := b.fromFolder(func(dir string) error {
		f := &filler{top: dir, o: b.c.fill.withDefaults()}
		for _, d := range append(dirs, "plain") {
			f.mkdir(d)
		}
		for _, n := range []string{"HELLO", "Straße", "Été", "e\u0301te\u0301 2", "İstanbul", "Ω-ohm", "K-kelvin", "ﬁle", "日本語", "MiXeD.TxT", "zero\u200bwidth"} {
			f.file("folded/"+n, 10)
			f.file("folded/inner/"+n, 20)
		}
		if b.c.Name != "casefold-strict" {
			f.file("folded/bad\xff\xfeUTF8", 30)
		}
		for i := range 700 {
			f.file(fmt.Sprintf("large/Name-%04d-ÄÖÜ-ẞ", i), 1)
		}
		f.file("plain/Case", 1)
		f.file("plain/case", 2)
		return f.err
	})
	if err != nil {
		return err
	}
	var cmds []string
	for _, d := range dirs {
		const casefold, extents = 0x40000000, 0x80000
		cmds = append(cmds, fmt.Sprintf("sif /%s flags 0x%x", d, casefold|extents))
	}
	if err := b.debugfsQuiet(cmds...); err != nil {
		return err
	}
	return b.fsck("-fyD")
}

// verity makes files with a Merkle tree. The kernel here has no fs-verity, so
// the tree is written as data behind the content, and debugfs then cuts the
// size and sets the flag.
func verity(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	files := []struct {
		name   string
		size   int
		params verityParams
	}{
		{"empty", 0, verityParams{}}, {"one-byte", 1, verityParams{}}, {"one-block", 4096, verityParams{}},
		{"two-levels", 150*4096 + 17, verityParams{}}, {"three-levels", 300_000, verityParams{blockSize: 1024, sha512: true}},
		{"salted", 70_000, verityParams{salt: []byte("some salt")}}, {"plain", 5000, verityParams{}},
	}
	err := b.mount(func(dir string) error {
		for i, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f.name), Content(uint64(i), f.size), 0o644); err != nil {
				return err
			}
		}
		tree, err := ManifestDir(dir)
		if err != nil {
			return err
		}
		b.tree = tree.Without("/", "/lost+found")
		for i, f := range files[:len(files)-1] {
			if err := appendVerity(filepath.Join(dir, f.name), Content(uint64(i), f.size), f.params); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	cmds := []string{"feature verity"}
	for _, f := range files[:len(files)-1] {
		const verity, extents = 0x100000, 0x80000
		cmds = append(cmds, fmt.Sprintf("sif %s size %d", f.name, f.size), fmt.Sprintf("sif %s flags 0x%x", f.name, verity|extents))
	}
	return b.debugfsQuiet(cmds...)
}

// appendVerity writes the verity metadata of content behind it and puts the
// times back.
func appendVerity(path string, content []byte, p verityParams) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(p.metadata(content, int(st.Blksize)), verityStart(int64(len(content))))
	err = errors.Join(err, f.Close())
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, 0)
}
