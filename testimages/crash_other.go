//go:build !linux

package testimages

// Crash is an image as a power cut under load leaves it.
type Crash struct {
	Seed    uint64
	Path    string
	Journal string
	How     string
	Dirty   bool
	Tree    Manifest
}

// CrashImage makes the image number seed in the folder dir; Linux only.
func CrashImage(dir string, seed uint64) (Crash, error) { return Crash{}, errLinux }

// FastCrashImage is CrashImage with fast commits; Linux only.
func FastCrashImage(dir string, seed uint64) (Crash, error) { return Crash{}, errLinux }
