package device

import "testing"

// RequireTool is that of package testimages, which the tests inside this
// package cannot import, for it imports this package.
var RequireTool func(t testing.TB, names ...string)

// RequireRoot is testimages.RequireRoot, in the same way.
var RequireRoot func(t testing.TB)
