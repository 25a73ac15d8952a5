//go:build !linux

package device

import "os"

// seekData cannot tell holes here.
func seekData(*os.File, int64, int64) (data, hole int64, err error) { return 0, 0, errNoHoles }
