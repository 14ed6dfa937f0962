const form = document.querySelector("#form");
const busy = document.querySelector("#busy");
const error = document.querySelector("#error");
const answer = document.querySelector("#answer");
let working = false;
let again = false;

// One request at a time; changes meanwhile are one more, with the values that are then in the form.
async function ask() {
  again = working;
  if (working) return;
  working = true;
  const start = Date.now();
  const clock = setInterval(() => { busy.textContent = `${((Date.now() - start) / 1000).toFixed(0)} s ...`; }, 1000);
  const fields = new URLSearchParams();
  let file = null;
  for (const [name, value] of new FormData(form)) {
    if (value instanceof File) file = value; else fields.set(name, value);
  }
  let message = "";
  try {
    const largest = Number(form.querySelector("[data-largest]")?.dataset.largest);
    if (file && file.size > largest) {
      message = `the file is too large; accepted: up to ${largest / 2 ** 20} MiB`;
    } else {
      const found = await fetch(`answer?${fields}`, { method: "POST", body: file || "" });
      const text = await found.text();
      if (found.ok) answer.innerHTML = text; else message = text;
    }
  } catch {
    message = "the demo does not answer; its terminal may say why";
  }
  clearInterval(clock);
  busy.textContent = "";
  error.textContent = message;
  error.hidden = !message;
  working = false;
  if (again) ask();
}

form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
form.addEventListener("input", (event) => { if (event.target.type === "range") ask(); });
form.addEventListener("change", (event) => { if (event.target.type === "file") ask(); });
answer.addEventListener("input", (event) => {
  event.target.closest(".both").style.setProperty("--at", `${event.target.value}%`);
});
