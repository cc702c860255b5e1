"""The cases, by subject. Each is a function that takes a `lab.Lab` and fails by raising."""
