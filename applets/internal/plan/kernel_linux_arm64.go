package plan

const sysSetns = 268
