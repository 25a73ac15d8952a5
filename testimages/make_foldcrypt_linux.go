package testimages

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A folder that is encrypted and ignores case keeps the hash of each name in
// its entry, since it cannot be computed without the key. Neither the kernel
// here (no Unicode tables) nor mke2fs makes one. So the kernel makes encrypted
// folders, foldEncrypted rewrites their blocks with room for the hashes, and
// e2fsck judges them and builds the indexes. The hashes are made up: only the
// holder of the key could tell.
//
// A few of these images, whose names are never the same, do not outlive e2fsck
// 1.47.0: building an index it loses names, and finds their files without one
// then. Those are made again.
func foldEncrypted(b *builder) error {
	for range 4 {
		b.tree = nil
		if err := b.foldEncryptedOnce(); err != nil {
			return err
		}
		found, err := RunDebugfs(b.img, false, "ls -p /lost+found")
		if err != nil {
			return err
		}
		if !strings.Contains(found, "/#") {
			return nil
		}
	}
	return errors.New("e2fsck loses names of the folder every time")
}

func (b *builder) foldEncryptedOnce() error {
	if err := b.mkfs(); err != nil {
		return err
	}
	if err := b.mount(fillFoldCrypt); err != nil {
		return err
	}
	tree, stat, err := b.kernelView()
	if err != nil {
		return err
	}
	cmds := []string{"feature casefold", "ssv encoding utf8"}
	renamed := make(map[string]string)
	for i, line := range tree {
		if f := strings.Fields(line); f[1] != "d" || !strings.HasPrefix(f[0]+"/", "/secret/") {
			continue
		}
		ino := strings.Fields(stat[i])[1]
		if err := b.addHashes(ino, renamed); err != nil {
			return err
		}
		const casefold, encrypt, extents = 0x40000000, 0x800, 0x80000
		cmds = append(cmds, fmt.Sprintf("sif <%s> flags 0x%x", ino, casefold|encrypt|extents))
	}
	if err := b.debugfsQuiet(cmds...); err != nil {
		return err
	}
	for _, line := range tree.Without("/", "/lost+found") {
		b.tree = append(b.tree, renamePath(line, renamed))
	}
	b.tree.sort()
	return b.fsck("-fyD")
}

func fillFoldCrypt(dir string) error {
	key, err := addKey(dir, unix.FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER)
	if err != nil {
		return err
	}
	p := unix.FscryptPolicyV2{Version: unix.FSCRYPT_POLICY_V2, Contents_encryption_mode: unix.FSCRYPT_MODE_AES_256_XTS,
		Filenames_encryption_mode: unix.FSCRYPT_MODE_AES_256_CTS, Flags: unix.FSCRYPT_POLICY_FLAGS_PAD_16}
	copy(p.Master_key_identifier[:], key[:16])
	if err := encryptedFolder(dir+"/secret", unsafe.Pointer(&p)); err != nil {
		return err
	}
	// The hashes need eight more bytes per name: leave room.
	for i := range 250 {
		if i%3 == 0 {
			if err := os.Remove(fmt.Sprintf("%s/secret/many/%d%s", dir, i, strings.Repeat("x", i%60))); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(dir+"/plain", []byte("not encrypted"), 0o644)
}

// rawEntry is a directory entry as found in a block.
type rawEntry struct {
	ino  uint32
	kind byte
	name []byte
}

// addHashes rewrites the blocks of the folder ino as a plain list of entries
// with hashes, and notes in renamed how the names look without the key before
// and after.
func (b *builder) addHashes(ino string, renamed map[string]string) error {
	sb, err := readSuper(b.img)
	if err != nil {
		return err
	}
	bs := 1024 << le32(sb, 0x18)
	out, err := RunDebugfs(b.img, false, "blocks <"+ino+">")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(b.img, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var at []int64
	var entries []rawEntry
	for _, word := range strings.Fields(out) {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return err
		}
		block := make([]byte, bs)
		if _, err := f.ReadAt(block, n*int64(bs)); err != nil {
			return err
		}
		at = append(at, n*int64(bs))
		entries = append(entries, rawEntries(block)...)
	}
	blocks, err := layOut(entries, bs, len(at))
	if err != nil {
		return fmt.Errorf("folder %s: %w", ino, err)
	}
	for i, block := range blocks {
		if _, err := f.WriteAt(block, at[i]); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if !e.dots() {
			was, is := e.rest(), e.noKeyName()
			renamed[string(was)] = is
		}
	}
	return nil
}

func rawEntries(block []byte) []rawEntry {
	var list []rawEntry
	for off := 0; off+12 <= len(block); {
		e := rawEntry{le32(block, off), block[off+7], block[off+8 : off+8+int(block[off+6])]}
		if e.ino != 0 {
			list = append(list, e)
		}
		off += int(binary.LittleEndian.Uint16(block[off+4:]))
	}
	return list
}

func (e rawEntry) dots() bool { return string(e.name) == "." || string(e.name) == ".." }

// size is the room the entry needs: padded to 4, and the hashes behind that.
func (e rawEntry) size() int {
	n := (8 + len(e.name) + 3) &^ 3
	if !e.dots() {
		n += 8
	}
	return n
}

// hashes makes up a hash and a minor hash.
func (e rawEntry) hashes() []byte {
	h := sha256.Sum256(e.name)
	h[0] &^= 1 // the low bit marks collisions in an index
	return h[:8]
}

// rest is what of the ciphertext the presented name holds.
func (e rawEntry) rest() []byte {
	const whole = 149
	if len(e.name) <= whole {
		return e.name
	}
	tail := sha256.Sum256(e.name[whole:])
	return append(slices.Clone(e.name[:whole]), tail[:]...)
}

func (e rawEntry) noKeyName() string {
	return base64.RawURLEncoding.EncodeToString(append(e.hashes(), e.rest()...))
}

// layOut packs the entries into n blocks.
func layOut(entries []rawEntry, bs, n int) ([][]byte, error) {
	var blocks [][]byte
	for len(blocks) < n {
		block := make([]byte, bs)
		off, last := 0, 0
		for len(entries) > 0 && off+entries[0].size() <= bs {
			e := entries[0]
			entries = entries[1:]
			binary.LittleEndian.PutUint32(block[off:], e.ino)
			binary.LittleEndian.PutUint16(block[off+4:], uint16(e.size()))
			block[off+6], block[off+7] = byte(len(e.name)), e.kind
			copy(block[off+8:], e.name)
			if !e.dots() {
				copy(block[off+e.size()-8:], e.hashes())
			}
			last = off
			off += e.size()
		}
		binary.LittleEndian.PutUint16(block[last+4:], uint16(bs-last))
		blocks = append(blocks, block)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%d entries too many for %d blocks", len(entries), n)
	}
	return blocks, nil
}

// renamePath replaces the names below /secret in the path of a line.
func renamePath(line string, renamed map[string]string) string {
	path, fields, _ := strings.Cut(line, " ")
	parts := strings.Split(path, "/")
	for i := 2; i < len(parts) && parts[1] == "secret"; i++ {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil && len(raw) > 8 {
			if name, ok := renamed[string(raw[8:])]; ok {
				parts[i] = name
			}
		}
	}
	return strings.Join(parts, "/") + " " + fields
}
