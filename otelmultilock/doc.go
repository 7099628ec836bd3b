// Package otelmultilock reports what electors do as OpenTelemetry metrics and
// spans. It uses the API only: the program brings the SDK and its exporters.
//
//	obs, err := otelmultilock.New()
//	e, err := multilock.New(backend, multilock.Options{Group: "reports", Observer: obs})
//
// One observer serves any number of electors. README.md lists the names.
package otelmultilock
