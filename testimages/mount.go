package testimages

import (
	"strings"
	"testing"
)

// WithMount mounts img through a loop device, calls fn with the folder and
// unmounts, also when fn fails t or panics. opts are mount options as in
// mount(8) ("ro,noload"), the empty string for a read-write mount. Images that
// e2fsck does not call sound are refused, which is fatal for t.
func WithMount(t testing.TB, img, opts string, fn func(dir string)) {
	t.Helper()
	RequireLoop(t)
	err := Mounted(img, opts, func(dir string) error {
		fn(dir)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Mounted mounts img, calls fn with the folder, unmounts, and returns the
// first error. It does what [WithMount] says.
func Mounted(img, opts string, fn func(dir string) error) error {
	if err := mountable(img); err != nil {
		return err
	}
	distrust(img)
	err := mounted(img, opts, fn)
	if err == nil && cleanlyUnmounted(img) {
		trust(img)
	}
	return err
}

// options splits a mount(8) option list into kernel flags, by the table flags,
// and the rest, which the file system parses.
func options(opts string, flags map[string]uintptr) (uintptr, string) {
	var set uintptr
	var data []string
	for o := range strings.SplitSeq(opts, ",") {
		f, known := flags[o]
		switch {
		case known:
			set |= f
		case o != "" && o != "loop" && o != "rw" && o != "defaults":
			data = append(data, o)
		}
	}
	return set, strings.Join(data, ",")
}
