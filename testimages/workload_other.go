//go:build !linux

package testimages

func lockFile(string) (func(), error) { return func() {}, errLinux }

// Evict takes the file out of the page cache; Linux only.
func Evict(path string) error { return errLinux }

func fillRoot(string) error      { return errLinux }
func fillSmall(string) error     { return errLinux }
func fillFile(string) error      { return errLinux }
func fillExtents(string) error   { return errLinux }
func fillDirectory(string) error { return errLinux }
func fillSparse(string) error    { return errLinux }
