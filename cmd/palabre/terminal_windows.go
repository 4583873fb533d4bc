package main

// terminalName opens the console that the process sits at.
const terminalName = "CON"
