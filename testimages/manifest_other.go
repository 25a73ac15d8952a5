//go:build !linux

package testimages

// ManifestDir takes the manifest of the tree at dir; Linux only.
func ManifestDir(dir string) (Manifest, error) { return nil, errLinux }

// StatDir takes what [ManifestDir] leaves out; Linux only.
func StatDir(dir string) (Manifest, error) { return nil, errLinux }

// SameManifest fails unless the tree at dir has the manifest want; Linux only.
func SameManifest(want Manifest, dir string) error { return errLinux }
