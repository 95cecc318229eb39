/** The style of the HTML report: light and dark, wide and narrow screens, paper. */
export const STYLE = String.raw`
:root {
  color-scheme: light dark;
  --back: #fbfbfa; --card: #ffffff; --ink: #1c2024; --dim: #5d6670; --line: #dfe3e6; --accent: #0b5cad;
  --bad: #b3261e; --bad-back: #fdecea; --warn: #8a5a00; --warn-back: #fff4dc; --good: #1b6b3a; --good-back: #e6f4ea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #14171a; --card: #1d2125; --ink: #e7eaed; --dim: #a3adb6; --line: #363d44; --accent: #7fb8f5;
    --bad: #ff9a92; --bad-back: #3d1d1b; --warn: #f2c464; --warn-back: #3a2d10; --good: #84d6a2; --good-back: #16331f;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", "Liberation Sans", sans-serif; }
main, header, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .6rem; }
h3 { font-size: .95rem; margin: .9rem 0 .2rem; }
p { margin: .3rem 0; }
.dim { color: var(--dim); }
.mono { font-family: ui-monospace, "Cascadia Mono", "Liberation Mono", monospace; font-size: .88em; overflow-wrap: anywhere; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--card); padding: .5rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.verdict {
  border: 1px solid var(--line); border-left: .5rem solid var(--good); background: var(--good-back);
  border-radius: 6px; padding: .8rem 1rem;
}
.verdict.bad { border-left-color: var(--bad); background: var(--bad-back); }
.verdict.warn { border-left-color: var(--warn); background: var(--warn-back); }
.verdict strong { font-size: 1.15rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; margin: .9rem 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .55rem .8rem; }
.tile b { display: block; font-size: 1.3rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile.bad b { color: var(--bad); }
.tile.warn b { color: var(--warn); }
ol.worst { margin: 0; padding: 0; list-style: none; counter-reset: worst; display: grid; gap: .5rem; }
ol.worst li {
  counter-increment: worst; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: .6rem .9rem .6rem 2.6rem; position: relative;
}
ol.worst li::before { content: counter(worst); position: absolute; left: .9rem; font-weight: 700; color: var(--bad); }
.badge {
  display: inline-block; border-radius: 4px; padding: 0 .4rem; font-size: .82rem; font-weight: 600;
  background: var(--warn-back); color: var(--warn); white-space: nowrap;
}
.badge.bad { background: var(--bad-back); color: var(--bad); }
.controls { display: flex; flex-wrap: wrap; gap: .6rem; margin: 0 0 .6rem; align-items: end; }
.controls label { display: grid; gap: .15rem; font-size: .82rem; color: var(--dim); }
.controls .wide { flex: 1 1 14rem; }
input, select, button { font: inherit; color: inherit; }
input, select {
  background: var(--card); border: 1px solid var(--line); border-radius: 5px; padding: .35rem .5rem; width: 100%;
  max-width: 100%;
}
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line); }
caption { text-align: left; color: var(--dim); font-size: .85rem; padding: .2rem 0; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
td.mono { min-width: 8rem; }
td[data-label=Change] { min-width: 6.5rem; }
td[data-label=Now], td[data-label=Then] { min-width: 10rem; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal; white-space: nowrap; }
thead th { font-size: .82rem; color: var(--dim); font-weight: 600; }
th button { background: none; border: 0; padding: 0; font-weight: 600; cursor: pointer; text-align: inherit; white-space: nowrap; }
th button::after { content: " \2195"; opacity: .45; }
th[aria-sort=ascending] button::after { content: " \2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: " \2193"; opacity: 1; }
td button {
  background: none; border: 0; padding: 0; color: var(--accent); text-decoration: underline; cursor: pointer;
  text-align: left;
}
tr.page > td { background: var(--back); padding: .4rem 1rem 1rem; }
tr[hidden] { display: none; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 1.5rem; }
main { overflow-wrap: anywhere; }
.columns > *, .tiles > *, .controls > * { min-width: 0; }
ul { margin: .2rem 0; padding-left: 1.2rem; }
footer { margin-top: 2.5rem; padding-bottom: 2rem; color: var(--dim); font-size: .85rem; }
@media (max-width: 46rem) {
  main, header, footer { padding-left: .8rem; padding-right: .8rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); }
  .columns { grid-template-columns: 1fr; }
  table.cards, table.cards > tbody, table.cards > tbody > tr, table.cards > tbody > tr > td { display: block; }
  table.cards { border: 0; background: none; }
  table.cards > tbody > tr > td { min-width: 0; }
  table.cards > thead { position: absolute; left: -100rem; }
  table.cards > tbody > tr {
    background: var(--card); border: 1px solid var(--line); border-radius: 6px; margin-bottom: .5rem; padding: .3rem 0;
  }
  table.cards > tbody > tr.page { margin-top: -.7rem; border-top: 0; }
  table.cards > tbody > tr[hidden] { display: none; }
  table.cards > tbody > tr > td { border: 0; padding: .12rem .7rem; text-align: left; }
  table.cards > tbody > tr > td[data-label]::before { content: attr(data-label) ": "; color: var(--dim); font-size: .82rem; }
  .controls label { flex: 1 1 100%; }
}
@media print {
  :root {
    color-scheme: light; --back: #fff; --card: #fff; --ink: #000; --dim: #444; --line: #bbb; --accent: #000;
    --bad: #8c1d18; --warn: #6b4600; --good: #14532d;
    --bad-back: #fff; --warn-back: #fff; --good-back: #fff; }
  body { font-size: 10.5pt; }
  .controls, .skip { display: none; }
  tr, li { break-inside: avoid; }
}
`;
