//go:build race

package conformancetest

// underRace says that the race detector makes everything many times slower.
const underRace = true
