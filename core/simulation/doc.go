// Package simulation runs many electors over the memory store in a simulated
// world: a network that delays, loses, repeats and reorders, processes that are
// paused or suspended, clocks that run at different rates and are stepped. Its
// tests check in every schedule that no two electors believe at once, that tokens
// increase, and that no transition is missed; and that the checks would notice.
//
// It is a module of its own, never released, so that it may use both core's
// internal clock seam and a real store: there is no second model of a store.
package simulation
