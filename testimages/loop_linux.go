package testimages

import (
	"errors"
	"testing"
)

// WithLoop attaches img to a loop device, for reading and writing, calls fn with
// the path of the device and detaches.
func WithLoop(t testing.TB, img string, fn func(dev string)) {
	t.Helper()
	RequireLoop(t)
	distrust(img)
	err := func() (err error) {
		loop, err := attachLoop(img, false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, loop.detach()) }()
		fn(loop.path)
		return nil
	}()
	if err != nil {
		t.Fatal(err)
	}
}
