for (const box of document.querySelectorAll(".slides")) {
  const slides = [...box.querySelectorAll(".slide")];
  const range = box.querySelector("input");
  const show = () => slides.forEach((slide, i) => { slide.hidden = i !== Number(range.value); });
  box.querySelector(".control").hidden = slides.length < 2;
  range.addEventListener("input", show);
  show();
}
