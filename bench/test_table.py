"""python3 -m unittest discover bench"""

import unittest

from table import Goal, medians, put, render


class Tables(unittest.TestCase):
    FOUND = {"peerless": {"cpu": 1.0, "speed": 600.0}, "aria2": {"cpu": 1.6, "speed": 200.0},
             "rqbit": {"cpu": 2.0, "speed": 250.0}}

    def test_a_median_is_of_each_figure_alone_and_only_where_every_run_has_it(self):
        runs = [{"wall": 3, "cpu": 1, "anon": 5}, {"wall": 1, "cpu": 2, "anon": 5}, {"wall": 2, "cpu": 9}]
        self.assertEqual(medians({"x": runs}), {"x": {"wall": 2, "cpu": 2}})

    def test_a_figure_that_the_first_run_lacks_is_left_out(self):
        self.assertEqual(medians({"x": [{"wall": 1}, {"wall": 1, "anon": 2}]}), {"x": {"wall": 1}})

    def test_goals_are_judged_by_the_best_rival_that_is_there(self):
        rivals = ("aria2", "rqbit", "absent")
        self.assertEqual(Goal("cpu", 0.6, rivals).judge(self.FOUND), (1 / 1.6, False))
        self.assertEqual(Goal("speed", 2, rivals, least=True).judge(self.FOUND), (2.4, True))
        self.assertEqual(Goal("cpu", 1.0).judge(self.FOUND), (1.0, True))

    def test_nothing_is_judged_without_both_sides(self):
        self.assertIsNone(Goal("cpu", 0.6, ("absent",)).judge(self.FOUND))
        self.assertIsNone(Goal("cpu", 0.6, ("aria2",), ours="absent").judge(self.FOUND))
        self.assertIsNone(Goal("wall", 1).judge(self.FOUND))

    def test_a_table_has_ratios_and_goals(self):
        text = render(("speed", "cpu"), ("cpu",), (Goal("cpu", 0.6, ("aria2",)), Goal("wall", 1)), self.FOUND)
        self.assertEqual(
            text,
            "| client | MiB/s | CPU-s/GiB | CPU: peerless / it |\n"
            "|---|---|---|---|\n"
            "| peerless | 600 | 1.00 |  |\n"
            "| aria2 | 200 | 1.60 | 0.62 |\n"
            "| rqbit | 250 | 2.00 | 0.50 |\n"
            "\n"
            "| goal | measured | met |\n"
            "|---|---|---|\n"
            "| peerless: CPU-s/GiB ≤ 0.6 × aria2 | 0.625 | **no** |\n"
            "| peerless: wall s ≤ 1 | – | not measured |",
        )

    def test_a_table_replaces_only_its_own_place(self):
        document = "a\n<!-- row x -->\nold\n<!-- /row x -->\n<!-- row y -->\n<!-- /row y -->\n"
        self.assertEqual(
            put(document, "x", "new"),
            "a\n<!-- row x -->\nnew\n<!-- /row x -->\n<!-- row y -->\n<!-- /row y -->\n",
        )
        with self.assertRaises(ValueError):
            put(document, "z", "new")


if __name__ == "__main__":
    unittest.main()
