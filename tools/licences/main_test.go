package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestRecognise(t *testing.T) {
	const bsd = "Redistribution and use in source and binary\nforms, with or without modification, are permitted"
	for text, want := range map[string][]string{
		"Permission is hereby granted, free of charge, to any\n person obtaining a copy of this software": {"MIT"},
		"Licensed under the Apache License, Version 2.0":                                                  {"Apache-2.0"},
		bsd: {"BSD-2-Clause"},
		bsd + " ... be used to endorse or promote products": {"BSD-3-Clause"},
		"GNU AFFERO GENERAL PUBLIC LICENSE Version 3":       {"GPL"},
		"Business Source License 1.1":                       {"BUSL"},
		"All rights reserved.":                              nil,
	} {
		if got := recognise(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestIdentifyRefuses(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"none":    {"README": "free"},
		"unknown": {"LICENSE": "ask me"},
		"GPL":     {"COPYING": "GNU GENERAL PUBLIC LICENSE Version 3"},
	} {
		d := &dependency{dir: t.TempDir()}
		for file, text := range files {
			if err := os.WriteFile(filepath.Join(d.dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.identify(); err == nil {
			t.Errorf("%s: no fault, %q", name, d.licences)
		}
	}
}
