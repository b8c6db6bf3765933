// The example of the front page: before and after, with a border to move.

import { compare } from "./compare.js";

const example = document.getElementById("example");
const { before, after } = example.dataset;
example.replaceChildren(await compare(before, after));
