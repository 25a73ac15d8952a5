package testimages

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The kernel may hang or oops on a damaged image, so none is mounted before a
// judge has called it sound. Judging costs a run of e2fsck, therefore images
// that came from mke2fs or from a clean unmount in this process are remembered
// by path, size and modification time.

type stamp struct {
	size int64
	time time.Time
}

var trusted struct {
	sync.Mutex
	images map[string]stamp
}

func stampOf(img string) (stamp, bool) {
	fi, err := os.Stat(img)
	if err != nil {
		return stamp{}, false
	}
	return stamp{fi.Size(), fi.ModTime()}, true
}

// trust notes that img, as it is now, is known to be sound.
func trust(img string) {
	s, ok := stampOf(img)
	if !ok {
		return
	}
	trusted.Lock()
	defer trusted.Unlock()
	if trusted.images == nil {
		trusted.images = make(map[string]stamp)
	}
	trusted.images[img] = s
}

// distrust forgets img: the next mount asks e2fsck.
func distrust(img string) {
	trusted.Lock()
	defer trusted.Unlock()
	delete(trusted.images, img)
}

func isTrusted(img string) bool {
	s, ok := stampOf(img)
	trusted.Lock()
	defer trusted.Unlock()
	old, known := trusted.images[img]
	return ok && known && s == old
}

// mountable says why the kernel must not be given img, or nil.
func mountable(img string) error {
	if isTrusted(img) {
		return nil
	}
	if err := judge(img); err != nil {
		return fmt.Errorf("not mounted, for e2fsck does not call it sound: %w", err)
	}
	trust(img)
	return nil
}

// judge asks e2fsck. An image whose journal needs recovery is full of
// half-done changes to the read-only check, so a recovered copy stands for it.
func judge(img string) error {
	dirty, err := NeedsRecovery(img)
	if err != nil {
		return err
	}
	if !dirty {
		return Check(img)
	}
	dir, err := scratchDir("judge-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	twin := filepath.Join(dir, "twin.img")
	if err := CopyFile(twin, img); err != nil {
		return err
	}
	args := []string{"-fp", twin}
	if journal := JournalOf(img); exists(journal) {
		args = []string{"-fp", "-j", JournalOf(twin), twin}
		if err := CopyFile(JournalOf(twin), journal); err != nil {
			return err
		}
	}
	// Preening replays the journal and frees orphans; 1 means that it did.
	if _, err := run("e2fsck", args...); err != nil && exitCode(err) != 1 {
		return err
	}
	return Check(twin)
}

// NeedsRecovery tells whether the superblock of img says that its journal
// holds changes that are not in place yet.
func NeedsRecovery(img string) (bool, error) {
	sb, err := readSuper(img)
	if err != nil {
		return false, err
	}
	return needsRecovery(sb), nil
}

func needsRecovery(sb []byte) bool {
	const recovery = 0x4 // s_feature_incompat
	return binary.LittleEndian.Uint32(sb[0x60:])&recovery != 0
}

// cleanlyUnmounted tells whether the last mount of img ended in order.
func cleanlyUnmounted(img string) bool {
	const valid, faulty = 1, 2 // s_state
	sb, err := readSuper(img)
	if err != nil || needsRecovery(sb) {
		return false
	}
	return binary.LittleEndian.Uint16(sb[0x3a:])&(valid|faulty) == valid
}

// readSuper reads the primary superblock of img as bytes. This package judges
// the library, so it does not use the library's decoder.
func readSuper(img string) ([]byte, error) {
	f, err := os.Open(img)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sb := make([]byte, 1024)
	if _, err := f.ReadAt(sb, 1024); err != nil {
		return nil, fmt.Errorf("%s: superblock: %w", img, err)
	}
	if m := binary.LittleEndian.Uint16(sb[0x38:]); m != 0xEF53 {
		return nil, fmt.Errorf("%s: no ext superblock (magic 0x%04x)", img, m)
	}
	return sb, nil
}
