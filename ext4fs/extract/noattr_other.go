//go:build !linux

package extract

// isNoAttr reports whether an attribute is not there, or cannot be.
func isNoAttr(err error) bool { return isUnsupported(err) }
