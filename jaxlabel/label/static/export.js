// Export folders with links or copies. The tables need no script: they are links of the page.
import { alarm, byId, post } from "./api.js";

for (const id of ["links", "copies"]) {
  byId(id).addEventListener("click", async () => {
    byId("made").textContent = "Writing …";
    try {
      const { count, folder } = await post("/api/export", { copies: id === "copies" });
      byId("made").textContent = `${count} pictures are in ${folder}`;
    } catch (error) { byId("made").textContent = ""; alarm(error.message); }
  });
}
