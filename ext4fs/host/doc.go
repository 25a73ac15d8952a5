// Package host reads files of the host with all that the system knows of them:
// owners and times, holes, extended attributes; and without being led astray by
// symbolic links.
package host
