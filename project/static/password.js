// Buttons that show a password while it is typed. Without this module they stay hidden.
for (const button of document.querySelectorAll("[data-shows]")) {
  const field = document.getElementById(button.dataset.shows);
  const [show, hide] = button.children;
  const set = (isShown) => {
    field.type = isShown ? "text" : "password";
    show.hidden = isShown;
    hide.hidden = !isShown;
  };
  button.hidden = false;
  button.addEventListener("click", () => set(field.type === "password"));
  // Browsers offer to store passwords, but remember texts without asking.
  field.form.addEventListener("submit", () => set(false));
}
